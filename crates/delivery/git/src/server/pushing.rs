//! One push from its first byte to the end of the deployment it starts.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Path, State},
    response::Response,
};
use bytes::Bytes;
use futures::FutureExt as _;
use gix::objs::Kind;
use http::{HeaderMap, StatusCode};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{Context, Refusal, Service, answer, blocking, body};
use crate::{
    GitError, Outcome, Progress, Push, RefUpdate, Repository,
    ingest::Quarantine,
    name, objects, packs,
    pktline::{self, Band},
    receive::{Commands, Report},
};

/// Chunks that may wait for a client that reads slowly.
const QUEUED_CHUNKS: usize = 64;
/// A sign of life this often, so that nothing on the way takes the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A push that is refused is still read so far beyond its limit, so that its client gets to read why.
const DRAINED_LIMITS: u64 = 4;
const RESULT: &str = "application/x-git-receive-pack-result";

/// A push whose bytes have all arrived.
struct Arrived {
    commands: Commands,
    repository: Repository,
    quarantine: Result<Option<Quarantine>, GitError>,
}

pub async fn receive_pack(
    State(shared): State<Context>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let pusher = shared.authorize(&headers, Service::Push)?;
    let (app, _) = shared.find(&path)?;
    let permit = shared.working.clone().acquire_owned().await;
    let mut input = body::reader(body, &headers, shared.server.limits.idle)?;
    let context = shared.clone();
    let arrived = blocking(move || {
        let _permit = permit;
        read_push(&context, &app, &mut *input)
    });
    let Some(arrived) = arrived.await?? else { return Ok(answer(RESULT, Body::empty())) };
    if arrived.commands.has("side-band-64k") {
        let (chunks, mut receiver) = mpsc::channel::<Bytes>(QUEUED_CHUNKS);
        let response = Body::from_stream(futures::stream::poll_fn(move |context| {
            receiver.poll_recv(context).map(|chunk| chunk.map(Ok::<_, io::Error>))
        }));
        // A task of its own: the deployment goes on when the pusher hangs up.
        coracle_tasks::spawn("git push", conclude(shared, arrived, pusher, Terminal { chunks: Some(chunks) }));
        return Ok(answer(RESULT, response));
    }
    let (report, accepted) = settle(&shared, &arrived.commands, arrived.repository, arrived.quarantine, &pusher).await;
    if let Some(push) = accepted {
        let (progress, _) = Progress::channel();
        coracle_tasks::spawn("git push", async move { shared.server.handler.pushed(push, progress).await });
    }
    Ok(answer(RESULT, report.into()))
}

/// Reads the commands and the pack; None where the client only asks whether it may push.
fn read_push(shared: &Context, app: &str, input: &mut dyn Read) -> Result<Option<Arrived>, Refusal> {
    let broken = |error: io::Error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the push broke off or is malformed: {error}"))
    };
    let commands = Commands::read(input).map_err(broken)?;
    if commands.updates.is_empty() {
        return Ok(None);
    }
    let repository = match shared.server.repositories.get(app)? {
        Some(repository) => repository,
        None if shared.server.create_on_push => shared.server.repositories.create(app)?,
        None => return Err(Refusal::new(StatusCode::NOT_FOUND, format!("there is no app {app:?} here"))),
    };
    let limit_bytes = shared.server.limits.push_bytes;
    let quarantine = match commands.brings_pack() {
        true => Quarantine::receive(&repository, input, limit_bytes).map(Some),
        false => Ok(None),
    };
    if quarantine.is_err() {
        // The client reads no answer before all it has to say is taken.
        let _ = io::copy(&mut input.take(limit_bytes.saturating_mul(DRAINED_LIMITS)), &mut io::sink());
    }
    Ok(Some(Arrived { commands, repository, quarantine }))
}

/// Where lines for the pusher go, until they hang up.
struct Terminal {
    chunks: Option<mpsc::Sender<Bytes>>,
}

impl Terminal {
    async fn send(&mut self, band: Band, content: &[u8]) {
        let Some(chunks) = &self.chunks else { return };
        let mut out = Vec::with_capacity(content.len() + 8);
        let written = match content.is_empty() {
            true => pktline::write(&mut out, &[band as u8]),
            false => pktline::write_band(&mut out, band, content),
        };
        written.expect("writing to memory does not fail");
        if chunks.send(out.into()).await.is_err() {
            self.chunks = None;
        }
    }

    async fn line(&mut self, text: &str) {
        self.send(Band::Progress, format!("{}\n", text.trim_end_matches('\n')).as_bytes()).await;
    }

    async fn end(self) {
        if let Some(chunks) = self.chunks {
            let _ = chunks.send(Bytes::from_static(b"0000")).await;
        }
    }
}

/// Checks and accepts the push, tells the pusher, and hands it on.
async fn conclude(shared: Context, arrived: Arrived, pusher: String, mut terminal: Terminal) {
    let Arrived { commands, repository, quarantine } = arrived;
    // A client whose output is no terminal says `quiet` too: it spares our own remarks, never the deployment's.
    let quiet = commands.has("quiet");
    if let (Ok(Some(quarantine)), false) = (&quarantine, quiet) {
        terminal.line(&format!("received {} objects", quarantine.object_count)).await;
    }
    let (report, accepted) = settle(&shared, &commands, repository, quarantine, &pusher).await;
    terminal.send(Band::Data, &report).await;
    if let Some(push) = accepted {
        let repository = push.repository.clone();
        let outcome = watch(&shared, push, &mut terminal).await;
        tracing::info!(app = repository.app(), %pusher, ?outcome, "push handled");
        let joined = tokio::task::spawn_blocking(move || packs::join_when_many(&repository)).await;
        if let Ok(Err(error)) = joined {
            tracing::warn!(%error, "packs were not joined");
        }
    }
    terminal.end().await;
}

/// Runs the handler and shows its lines as they come.
async fn watch(shared: &Context, push: Push, terminal: &mut Terminal) -> Outcome {
    let (progress, mut lines) = Progress::channel();
    let handler = shared.server.handler.clone();
    let work = std::panic::AssertUnwindSafe(handler.pushed(push, progress)).catch_unwind();
    let mut work = std::pin::pin!(work);
    let mut alive = tokio::time::interval(KEEP_ALIVE);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => terminal.line(&line).await,
            outcome = &mut work => break outcome,
            _ = alive.tick() => terminal.send(Band::Data, b"").await,
        }
    };
    while let Ok(line) = lines.try_recv() {
        terminal.line(&line).await;
    }
    outcome.unwrap_or_else(|_| Outcome::Failed("the deployment failed inside coracle; its log says why".into()))
}

/// Moves the refs if everything is sound. The report for the client, and the push where anything moved.
async fn settle(
    shared: &Context,
    commands: &Commands,
    repository: Repository,
    quarantine: Result<Option<Quarantine>, GitError>,
    pusher: &str,
) -> (Vec<u8>, Option<Push>) {
    let refused = |why: &str| {
        let refs = commands.updates.iter().map(|update| (update.name.as_str(), Err(why.to_owned()))).collect();
        Report { unpack: Ok(()), refs }
    };
    let (report, moved) = match accept(shared, commands, &repository, quarantine, pusher).await {
        Ok(results) => {
            let moved: Vec<RefUpdate> = commands
                .updates
                .iter()
                .zip(&results)
                .filter(|(_, result)| result.is_ok())
                .map(|(update, _)| update.clone())
                .collect();
            let refs = commands.updates.iter().map(|update| update.name.as_str()).zip(results).collect();
            (Report { unpack: Ok(()), refs }, moved)
        }
        Err(Unaccepted::Pack(why)) => (Report { unpack: Err(why), ..refused("not unpacked") }, Vec::new()),
        Err(Unaccepted::Refused(why)) => (refused(&why), Vec::new()),
    };
    let rendered = match commands.has("report-status") || commands.has("report-status-v2") {
        true => report.render().expect("writing to memory does not fail"),
        false => Vec::new(),
    };
    let app = repository.app().to_owned();
    let options = commands.options.clone();
    let push = Push { app, pusher: pusher.to_owned(), updates: moved, options, repository };
    (rendered, (!push.updates.is_empty()).then_some(push))
}

/// Why nothing of a push was accepted.
enum Unaccepted {
    Pack(String),
    Refused(String),
}

impl From<GitError> for Unaccepted {
    fn from(error: GitError) -> Self {
        Self::Pack(error.to_string())
    }
}

impl From<Refusal> for Unaccepted {
    fn from(refusal: Refusal) -> Self {
        Self::Pack(refusal.text)
    }
}

async fn accept(
    shared: &Context,
    commands: &Commands,
    repository: &Repository,
    quarantine: Result<Option<Quarantine>, GitError>,
    pusher: &str,
) -> Result<Vec<Result<(), String>>, Unaccepted> {
    let quarantine = quarantine?;
    let within = repository.clone();
    let updates = commands.updates.clone();
    let (quarantine, preview, checked) = blocking(move || check(&within, quarantine, &updates)).await??;
    let atomic = commands.has("atomic");
    if checked.iter().all(Result::is_err) || (atomic && checked.iter().any(Result::is_err)) {
        return Ok(checked.into_iter().map(|result| result.and(Err("atomic push failed".to_owned()))).collect());
    }
    let allowed: Vec<RefUpdate> = commands
        .updates
        .iter()
        .zip(&checked)
        .filter(|(_, result)| result.is_ok())
        .map(|(update, _)| update.clone())
        .collect();
    let push = Push {
        app: repository.app().to_owned(),
        pusher: pusher.to_owned(),
        updates: allowed.clone(),
        options: commands.options.clone(),
        repository: preview,
    };
    shared.server.handler.admit(&push).await.map_err(Unaccepted::Refused)?;
    drop(push);
    let within = repository.clone();
    let moved = blocking(move || {
        if let Some(quarantine) = quarantine {
            quarantine.accept(&within)?;
        }
        within.update_refs(&allowed, atomic)
    });
    let mut moved = moved.await??.into_iter();
    Ok(checked.into_iter().map(|result| result.and_then(|()| moved.next().unwrap_or(Ok(())))).collect())
}

type Checked = (Option<Quarantine>, Repository, Vec<Result<(), String>>);

/// Checks the objects that came and the refs that shall move. Also the repository as it would be.
fn check(repository: &Repository, quarantine: Option<Quarantine>, updates: &[RefUpdate]) -> Result<Checked, GitError> {
    let preview = match &quarantine {
        Some(quarantine) => {
            let preview = quarantine.over(repository)?;
            quarantine.verify(&preview.objects())?;
            preview
        }
        None => repository.clone(),
    };
    let objects = preview.objects();
    let mut results = Vec::new();
    for update in updates {
        results.push(match update.new {
            None => Ok(()),
            Some(id) => match (name::check_ref(&update.name), objects::header(&objects, id)?) {
                (Err(why), _) => Err(why.to_owned()),
                (Ok(()), None) => Err(format!("object {id} did not come with the push")),
                (Ok(()), Some((Kind::Commit, _))) => Ok(()),
                (Ok(()), Some((kind, _))) if update.branch().is_some() => {
                    Err(format!("a branch cannot point to a {kind}"))
                }
                (Ok(()), Some(_)) => Ok(()),
            },
        });
    }
    Ok((quarantine, preview, results))
}
