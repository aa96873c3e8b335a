//! The build room behind this room's seam: a commit's Git tree is the build context.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use coracle_build::{Context, ContextEntry, ContextKind, Request};
use coracle_git::FileKind;
use futures::future::BoxFuture;

use crate::builder::{BuildError, Builder, Image, Lines};
use crate::git::GitTree;
use crate::source::Tree;

/// A repository with more entries than this is not built.
const ENTRIES_LIMIT: usize = 200_000;
/// The largest single file that is copied into an image.
const FILE_LIMIT_BYTES: u64 = 2 << 30;

/// Builds Dockerfiles in process, into the registry that clients know as `host`.
pub struct DockerfileBuilder {
    pub builder: coracle_build::Builder,
    pub host: String,
}

impl Builder for DockerfileBuilder {
    fn ensure(
        &self,
        app: String,
        tree: Arc<dyn Tree>,
        progress: Lines,
    ) -> BoxFuture<'static, Result<Image, BuildError>> {
        let (builder, host) = (self.builder.clone(), self.host.clone());
        Box::pin(async move {
            let tree = GitTree::of(&*tree)
                .cloned()
                .ok_or_else(|| BuildError("only commits of this server's repositories are built".to_owned()))?;
            let request = Request::new(app.as_str(), Arc::new(GitContext(tree)));
            let built = builder.build(request, progress).await.map_err(|error| BuildError(error.to_string()))?;
            Ok(Image {
                reference: format!("{host}/{app}@{}", built.digest),
                exposed_ports: built.config.tcp_ports(),
                was_built: !built.reused,
            })
        })
    }
}

/// A commit's files as a build context; Git has named their contents already.
struct GitContext(coracle_git::Tree);

impl Context for GitContext {
    fn entries(&self) -> io::Result<Vec<ContextEntry>> {
        let mut entries = Vec::new();
        for entry in self.0.walk(ENTRIES_LIMIT).map_err(io::Error::other)? {
            let kind = match entry.kind {
                FileKind::File | FileKind::Executable => ContextKind::File {
                    executable: entry.kind == FileKind::Executable,
                    size_bytes: self.0.blob_size_bytes(entry.id).map_err(io::Error::other)?,
                },
                FileKind::Symlink => {
                    let target = self.0.blob(entry.id, FILE_LIMIT_BYTES).map_err(io::Error::other)?;
                    ContextKind::Symlink { target: String::from_utf8(target).map_err(io::Error::other)? }
                }
                // A submodule's files are not here; it is the empty directory that a plain clone shows.
                FileKind::Directory | FileKind::Submodule => ContextKind::Directory,
            };
            let content_id = matches!(kind, ContextKind::File { .. }).then(|| entry.id.to_string());
            entries.push(ContextEntry { path: entry.path, kind, content_id });
        }
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(entries)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let content = self.0.read(path, FILE_LIMIT_BYTES).map_err(io::Error::other)?;
        content
            .map(|content| Box::new(Cursor::new(content)) as Box<dyn Read + Send>)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{path} is not in the commit")))
    }

    fn content_id(&self, path: &str) -> io::Result<String> {
        let entry = self.0.entry(path).map_err(io::Error::other)?;
        entry
            .map(|entry| entry.id.to_string())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{path} is not in the commit")))
    }
}
