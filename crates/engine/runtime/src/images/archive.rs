//! Images out of files: an OCI layout or what `docker save` writes, as a directory or as one archive.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Take},
    path::{Path, PathBuf},
};

use coracle_clock::{Clock, SystemClock};
use serde::Deserialize;

use super::{Image, ImageError, Images, PullError, RECORD_VERSION, Record, parse_config};
use crate::{
    reference::{Digest, Reference},
    registry::{Descriptor, ManifestOrIndex},
};

const MAX_JSON_BYTES: u64 = 8 << 20;
/// Where a layout keeps the name an image was saved under.
const NAME_ANNOTATIONS: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Where the pieces of an archive are.
enum Source {
    Directory(PathBuf),
    /// Name to offset and length in one tar file.
    Tar {
        file: PathBuf,
        members: BTreeMap<String, (u64, u64)>,
    },
}

enum Piece {
    File(File),
    Part(Take<File>),
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Part(part) => part.read(buffer),
        }
    }
}

impl Source {
    fn open(path: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let mut members = BTreeMap::new();
        for entry in tar::Archive::new(File::open(path)?).entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            members.insert(name, (entry.raw_file_position(), entry.size()));
        }
        Ok(Self::Tar { file: path.to_owned(), members })
    }

    fn piece(&self, name: &str) -> io::Result<Piece> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is missing"));
        match self {
            Self::Directory(directory) => {
                let inside = Path::new(name).components().all(|c| matches!(c, std::path::Component::Normal(_)));
                File::open(directory.join(name)).ok().filter(|_| inside).map(Piece::File).ok_or_else(missing)
            }
            Self::Tar { file, members } => {
                let (offset, length) = members.get(name).ok_or_else(missing)?;
                let mut file = File::open(file)?;
                file.seek(SeekFrom::Start(*offset))?;
                Ok(Piece::Part(file.take(*length)))
            }
        }
    }

    fn json(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.piece(name)?.take(MAX_JSON_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// One image of an archive: where its pieces are, and what it is called.
struct Found {
    names: Vec<Reference>,
    manifest: Option<Digest>,
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

impl Images {
    /// Makes all images of `path` present under the names they were saved with.
    pub async fn load(&self, path: &Path) -> Result<Vec<Image>, ImageError> {
        let _no_clearing = self.inner.clearing.read().await;
        let (images, owned) = (self.clone(), path.to_owned());
        let loaded = tokio::task::spawn_blocking(move || images.load_blocking(&owned)).await;
        let failed = |reason: String| ImageError::Load { path: path.display().to_string(), reason };
        let loaded = loaded.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        self.sync_soon();
        Ok(loaded)
    }

    fn load_blocking(&self, path: &Path) -> Result<Vec<Image>, PullError> {
        let source = Source::open(path)?;
        let found = match source.json("manifest.json") {
            Ok(saved) => saved_images(&saved)?,
            Err(_) => layout_images(&source)?,
        };
        found.into_iter().map(|image| self.load_one(&source, image)).collect()
    }

    fn load_one(&self, source: &Source, found: Found) -> Result<Image, PullError> {
        let config_bytes = source.json(&found.config)?;
        let config = Digest::of(&config_bytes);
        let diff_ids = parse_config(&config_bytes)?.diff_ids;
        if diff_ids.len() != found.layers.len() {
            return Err(PullError::Config(format!(
                "it names {} layers, the archive {}",
                diff_ids.len(),
                found.layers.len()
            )));
        }
        let mut size_bytes = 0;
        for (diff_id, layer) in diff_ids.iter().zip(&found.layers) {
            let piece = source.piece(layer)?;
            size_bytes += match &piece {
                Piece::File(file) => file.metadata()?.len(),
                Piece::Part(part) => part.limit(),
            };
            if !self.inner.layers.has(diff_id) {
                self.inner.layers.make(diff_id, None, piece)?;
            }
        }
        let mut names = found.names;
        if names.is_empty() {
            // Nameless images can be found by their id.
            names.push(Reference {
                registry: "localhost".into(),
                repository: "loaded".into(),
                tag: None,
                digest: Some(found.manifest.clone().unwrap_or_else(|| config.clone())),
            });
        }
        let record = Record {
            version: RECORD_VERSION,
            reference: names[0].clone(),
            digest: found.manifest,
            config,
            size_bytes,
            pulled_at: SystemClock.now(),
        };
        self.record(&record, &config_bytes, names)
    }
}

fn saved_images(manifest: &[u8]) -> Result<Vec<Found>, PullError> {
    let saved: Vec<Saved> = serde_json::from_slice(manifest).map_err(|error| PullError::Config(error.to_string()))?;
    let found = saved.into_iter().map(|image| Found {
        names: image.repo_tags.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect(),
        manifest: None,
        config: image.config,
        layers: image.layers,
    });
    Ok(found.collect())
}

fn layout_images(source: &Source) -> Result<Vec<Found>, PullError> {
    let index: Index =
        serde_json::from_slice(&source.json("index.json")?).map_err(|error| PullError::Config(error.to_string()))?;
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let mut found = Vec::new();
    for descriptor in index.manifests {
        let mut parsed = ManifestOrIndex::parse(&source.json(&blob(&descriptor.digest))?)?;
        if let ManifestOrIndex::Elsewhere(inner) = &parsed {
            parsed = ManifestOrIndex::parse(&source.json(&blob(&inner.digest))?)?;
        }
        let ManifestOrIndex::Manifest(manifest) = parsed else {
            return Err(PullError::Config("an index of indexes".into()));
        };
        let name = NAME_ANNOTATIONS.iter().find_map(|key| descriptor.annotations.get(*key)?.parse().ok());
        found.push(Found {
            names: name.into_iter().collect(),
            manifest: Some(descriptor.digest),
            config: blob(&manifest.config.digest),
            layers: manifest.layers.iter().map(|layer| blob(&layer.digest)).collect(),
        });
    }
    Ok(found)
}
