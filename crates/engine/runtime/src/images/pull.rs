//! From a name to an image on disk: resolve, fetch, check, unpack; several layers at a time, no layer twice.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use coracle_clock::{Clock, SystemClock};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::{Image, ImageError, Images, LayerError, PullError, RECORD_VERSION, Record, parse_config};
use crate::{
    reference::{Digest, Reference},
    registry::{Credentials, Descriptor, FetchedManifest, RegistryError},
};

/// Layers of one image that are fetched at the same time.
const PARALLEL_LAYERS: usize = 3;
/// Pieces of a blob between the network and the unpacker.
const PIECES_AHEAD: usize = 32;
const ATTEMPTS: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How far a pull is. Bytes are those of packed layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub layers_done: usize,
    pub layers: usize,
    pub bytes_done: u64,
    pub bytes: u64,
}

/// Who to be, tried in this order; anonymous where there is none.
pub type PullCredentials = Vec<Credentials>;

type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

#[derive(Clone, Default)]
pub struct PullOptions {
    pub credentials: PullCredentials,
    /// Called whenever there is something new to say, from any thread.
    pub on_progress: Option<OnProgress>,
}

struct Counters {
    layers: usize,
    bytes: u64,
    layers_done: AtomicU64,
    bytes_done: AtomicU64,
    on_progress: Option<OnProgress>,
}

impl Counters {
    fn new(manifest: &FetchedManifest, on_progress: Option<OnProgress>) -> Self {
        let layers = &manifest.manifest.layers;
        Self {
            layers: layers.len(),
            bytes: layers.iter().map(|layer| layer.size).sum(),
            layers_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            on_progress,
        }
    }

    fn add(&self, layers: u64, bytes: u64) {
        let layers_done = self.layers_done.fetch_add(layers, Ordering::Relaxed) + layers;
        let bytes_done = self.bytes_done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(on_progress) = &self.on_progress {
            on_progress(Progress {
                layers_done: layers_done as usize,
                layers: self.layers,
                bytes_done,
                bytes: self.bytes,
            });
        }
    }
}

impl Images {
    /// Makes the image present. One that is named by digest and is here already needs no network; a tag is always asked for.
    pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<Image, ImageError> {
        if reference.digest.is_some()
            && let Some(image) = self.find(reference)
        {
            return Ok(image);
        }
        let pulled = self.pull_as_any(reference, &options).await;
        pulled.map_err(|error| ImageError::Pull { reference: reference.to_string(), source: Box::new(error) })
    }

    /// With each of the credentials until one is let in.
    async fn pull_as_any(&self, reference: &Reference, options: &PullOptions) -> Result<Image, PullError> {
        let resolve = |source| PullError::Resolve { reference: reference.to_string(), source };
        let mut who: Vec<Option<&Credentials>> = options.credentials.iter().map(Some).collect();
        who.push(None);
        let mut refused = None;
        for credentials in who {
            match retried(|| self.inner.registry.manifest(reference, credentials)).await {
                Ok(manifest) => return self.fetch(reference, manifest, credentials, options).await,
                // The first refusal is the telling one: it is about the secret somebody wrote.
                Err(error @ RegistryError::Denied(_)) => refused = refused.or(Some(error)),
                Err(error) => return Err(resolve(error)),
            }
        }
        Err(resolve(refused.unwrap_or_else(|| RegistryError::Denied(reference.name()))))
    }

    async fn fetch(
        &self,
        reference: &Reference,
        manifest: FetchedManifest,
        credentials: Option<&Credentials>,
        options: &PullOptions,
    ) -> Result<Image, PullError> {
        let _no_clearing = self.inner.clearing.read().await;
        let config = &manifest.manifest.config;
        let config_bytes = retried(|| self.inner.registry.small_blob(reference, &config.digest, credentials)).await?;
        let diff_ids = parse_config(&config_bytes)?.diff_ids;
        let layers = &manifest.manifest.layers;
        if diff_ids.len() != layers.len() {
            return Err(PullError::Config(format!(
                "it names {} layers, the manifest {}",
                diff_ids.len(),
                layers.len()
            )));
        }
        let counters = Arc::new(Counters::new(&manifest, options.on_progress.clone()));
        let made: Vec<bool> = stream::iter(layers.iter().zip(&diff_ids))
            .map(|(layer, diff_id)| self.fetch_layer(reference, layer, diff_id, credentials, &counters))
            .buffered(PARALLEL_LAYERS)
            .try_collect()
            .await?;
        self.inner.layers.tidy_turns();
        let record = Record {
            version: RECORD_VERSION,
            reference: reference.clone().without_idle_tag(),
            digest: Some(manifest.digest.clone()),
            config: config.digest.clone(),
            size_bytes: layers.iter().map(|layer| layer.size).sum(),
            pulled_at: SystemClock.now(),
        };
        let mut names = vec![record.reference.clone(), reference.at(manifest.digest.clone())];
        names.dedup();
        let image = self.record(&record, &config_bytes, names)?;
        if made.contains(&true) {
            self.sync_soon();
        }
        Ok(image)
    }

    /// Whether there was anything to do.
    async fn fetch_layer(
        &self,
        reference: &Reference,
        layer: &Descriptor,
        diff_id: &Digest,
        credentials: Option<&Credentials>,
        counters: &Arc<Counters>,
    ) -> Result<bool, PullError> {
        let _turn = self.inner.layers.turn(diff_id).await;
        if self.inner.layers.has(diff_id) {
            counters.add(1, layer.size);
            return Ok(false);
        }
        let mut attempt = 1;
        loop {
            match self.download(reference, layer, diff_id, credentials, counters).await {
                Ok(()) => {
                    counters.add(1, 0);
                    return Ok(true);
                }
                Err(PullError::Fetch(error)) if error.is_transient() && attempt < ATTEMPTS => {
                    tracing::debug!(layer = %layer.digest, %error, attempt, "fetching again");
                    tokio::time::sleep(RETRY_PAUSE * attempt).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The network feeds an unpacking thread; whichever fails first ends the other.
    async fn download(
        &self,
        reference: &Reference,
        layer: &Descriptor,
        diff_id: &Digest,
        credentials: Option<&Credentials>,
        counters: &Arc<Counters>,
    ) -> Result<(), PullError> {
        let mut blob = self.inner.registry.blob(reference, &layer.digest, credentials).await?;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES_AHEAD);
        let (images, diff_id, digest) = (self.clone(), diff_id.clone(), layer.digest.clone());
        let pieces = Pieces { receiver, current: Bytes::new() };
        let unpacking = tokio::task::spawn_blocking(move || images.inner.layers.make(&diff_id, Some(&digest), pieces));
        let mut fetched = 0;
        let failure = loop {
            match blob.next().await {
                Ok(None) => break None,
                Ok(Some(piece)) => {
                    fetched += piece.len() as u64;
                    counters.add(0, piece.len() as u64);
                    if sender.send(Ok(piece)).await.is_err() {
                        break None;
                    }
                }
                Err(error) => {
                    let _ = sender.send(Err(io::Error::other(error.to_string()))).await;
                    break Some(error);
                }
            }
        };
        drop(sender);
        let unpacked: Result<u64, LayerError> = unpacking.await.map_err(io::Error::other)?;
        match failure {
            Some(error) => {
                // Counted again by the next attempt.
                counters.bytes_done.fetch_sub(fetched, Ordering::Relaxed);
                Err(error.into())
            }
            None => Ok(unpacked.map(drop)?),
        }
    }
}

async fn retried<T, F: Future<Output = Result<T, RegistryError>>>(ask: impl Fn() -> F) -> Result<T, RegistryError> {
    let mut attempt = 1;
    loop {
        match ask().await {
            Err(error) if error.is_transient() && attempt < ATTEMPTS => {
                tokio::time::sleep(RETRY_PAUSE * attempt).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Pieces of a blob as a thread reads them.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}
