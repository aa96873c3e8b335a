//! A log as a stream of bytes: once through, or followed as it grows and is rotated, until its container has ended.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustix::fs::inotify;
use tokio::{io::unix::AsyncFd, sync::mpsc};

use super::{Cutter, Options, tail_offset};

const CHUNK_BYTES: usize = 64 << 10;
/// Pieces waiting for a slow client.
const QUEUE: usize = 8;

/// Starts reading. `ended` resolves when the container has ended: what it wrote is still read to its end.
pub fn stream(
    path: PathBuf,
    options: Options,
    ended: impl Future<Output = ()> + Send + 'static,
) -> io::Result<mpsc::Receiver<io::Result<Bytes>>> {
    let mut file = File::open(&path)?;
    let offset = options.tail_lines.map_or(Ok(0), |lines| tail_offset(&mut file, lines))?;
    file.seek(SeekFrom::Start(offset))?;
    // Watched before the first read, so that nothing written in between is missed.
    let changes = if options.follow { Some(Changes::of(&path)?) } else { None };
    let (sender, receiver) = mpsc::channel(QUEUE);
    coracle_tasks::spawn("log", async move {
        let mut reader = Reader { path, file, cutter: Cutter::new(options), sender };
        if let Err(error) = reader.run(changes, ended).await {
            // The client is gone, or there is nothing left to tell it.
            let _ = reader.sender.send(Err(error)).await;
        }
    });
    Ok(receiver)
}

struct Reader {
    path: PathBuf,
    file: File,
    cutter: Cutter,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Reader {
    async fn run(&mut self, changes: Option<Changes>, ended: impl Future<Output = ()>) -> io::Result<()> {
        let Some(changes) = changes else {
            self.drain().await?;
            return Ok(());
        };
        tokio::pin!(ended);
        let sender = self.sender.clone();
        let mut over = false;
        loop {
            while self.drain().await? {
                if !self.next_file()? {
                    break;
                }
            }
            if over || self.cutter.is_full() || self.sender.is_closed() {
                return Ok(());
            }
            tokio::select! {
                () = &mut ended => over = true,
                () = sender.closed() => return Ok(()),
                changed = changes.wait() => changed?,
            }
        }
    }

    /// Passes on all there is; false once the client wants no more.
    async fn drain(&mut self) -> io::Result<bool> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = self.file.read(&mut chunk)?;
            if length == 0 {
                return Ok(true);
            }
            let mut out = Vec::new();
            self.cutter.cut(&chunk[..length], &mut out);
            if !out.is_empty() && self.sender.send(Ok(out.into())).await.is_err() {
                return Ok(false);
            }
            if self.cutter.is_full() {
                return Ok(false);
            }
        }
    }

    /// Goes on to what follows in time after a rotation; false where this is the current file.
    fn next_file(&mut self) -> io::Result<bool> {
        let own = self.file.metadata()?;
        let same =
            |path: &Path| fs::metadata(path).is_ok_and(|other| other.ino() == own.ino() && other.dev() == own.dev());
        if same(&self.path) {
            return Ok(false);
        }
        // Rotated files sort by time, and the current one comes last.
        let files = rotated(&self.path);
        let after = files.iter().position(|path| same(path)).map(|index| index + 1);
        let next = after.and_then(|index| files.get(index)).unwrap_or(&self.path);
        match File::open(next) {
            Ok(file) => {
                self.file = file;
                Ok(true)
            }
            // Between the rename and the new file there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The files a log was rotated into, oldest first.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let mut prefix = OsString::from(name);
    prefix.push(".");
    let prefix = prefix.to_string_lossy().into_owned();
    let mut files: Vec<_> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

/// Changes of a log and its rotation, told by the kernel.
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    #[expect(
        deprecated,
        reason = "an owned descriptor stays open and the same, which is all the newer, unsafe constructor asks"
    )]
    fn of(path: &Path) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, directory, events)?;
        Ok(Self(AsyncFd::new(fd)?))
    }

    async fn wait(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        // What changed does not matter, only that something did.
        let mut buffer = [0; 4096];
        while let Ok(Ok(1..)) = guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        io::Write,
        path::Path,
    };

    use bytes::Bytes;
    use tokio::sync::{mpsc, oneshot};

    use super::stream;
    use crate::logs::Options;

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("writable");
        writeln!(file, "2026-01-01T00:00:00Z stdout F {text}").expect("writable");
    }

    async fn next(stream: &mut mpsc::Receiver<std::io::Result<Bytes>>) -> String {
        let bytes = stream.recv().await.expect("more").expect("readable");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_log_is_followed_across_rotation_to_the_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("0.log");
        append(&path, "one");
        let (end, ended) = oneshot::channel::<()>();
        let options = Options { follow: true, ..Options::default() };
        let mut stream = stream(path.clone(), options, async { drop(ended.await) }).expect("readable");
        assert_eq!(next(&mut stream).await, "one\n");
        append(&path, "two");
        assert_eq!(next(&mut stream).await, "two\n");
        fs::rename(&path, directory.path().join("0.log.20260101-000001")).expect("writable");
        append(&path, "three");
        assert_eq!(next(&mut stream).await, "three\n");
        append(&path, "four");
        end.send(()).expect("followed");
        assert_eq!(next(&mut stream).await, "four\n");
        assert!(stream.recv().await.is_none());
    }

    #[tokio::test]
    async fn without_following_it_is_read_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("0.log");
        for text in ["one", "two", "three"] {
            append(&path, text);
        }
        let options = Options { tail_lines: Some(2), ..Options::default() };
        let mut stream = stream(path, options, std::future::pending()).expect("readable");
        assert_eq!(next(&mut stream).await, "two\nthree\n");
        assert!(stream.recv().await.is_none());
    }
}
