//! `/exec` and `/attach`: a process in a container, joined to a client's streams.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{Answer, Body, Refusal, Server, query::Query, running_id, text};
use crate::{
    doors::{Effect, ExecRequest, Process, ProcessControl},
    pod::worker::Handle,
    streams::{
        negotiate::{Endpoint, NegotiateError, negotiate},
        remote::{Outcome, Remote, Wanted, sizes},
        sink::Sink,
    },
};

const READ_BYTES: usize = 32 << 10;

fn wanted(query: &Query) -> Wanted {
    // Clients say `stdin`, the API server's own clients say `input`.
    let either = |one: &str, other: &str| query.is(one) || query.is(other);
    Wanted {
        stdin: either("stdin", "input"),
        stdout: either("stdout", "output"),
        stderr: either("stderr", "error"),
        tty: query.is("tty"),
    }
}

/// Runs a command in a container.
pub fn exec(server: &Server, pod: &Handle, container: &str, request: Request<Incoming>) -> Answer {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let args: Vec<_> = query.all("command").map(str::to_owned).collect();
    if args.is_empty() {
        return Err(Refusal::bad("you must specify at least 1 command"));
    }
    let wanted = wanted(&query);
    let id = running_id(&pod.state.borrow().clone(), container)?;
    let process = server.context.runtime.exec(&id, ExecRequest { args, stdin: wanted.stdin, tty: wanted.tty });
    join(request, wanted, process)
}

/// Joins the main process of a container.
pub fn attach(server: &Server, pod: &Handle, container: &str, request: Request<Incoming>) -> Answer {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let state = pod.state.borrow().clone();
    let id = running_id(&state, container)?;
    let spec = state.container_spec(container).unwrap_or_default();
    let asked = wanted(&query);
    // Only what the container has can be joined.
    let wanted = Wanted { tty: asked.tty && spec.tty.unwrap_or_default(), ..asked };
    join(request, wanted, server.context.runtime.attach(&id))
}

/// Runs a command to its end and answers with its output.
pub async fn run(server: &Server, pod: &Handle, container: &str, query: &str) -> Answer {
    let id = running_id(&pod.state.borrow().clone(), container)?;
    let command = Query::parse(query).get("cmd").unwrap_or_default().to_owned();
    let args = command.split_whitespace().map(str::to_owned).collect();
    let limit = std::time::Duration::from_secs(60);
    match server.context.runtime.capture(&id, args, limit).await {
        Ok(captured) => Ok(text(StatusCode::OK, captured.output)),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// Accepts the upgrade, and goes on in a task of its own.
fn join(mut request: Request<Incoming>, wanted: Wanted, process: Effect<Process>) -> Answer {
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(Refusal::bad("you must specify at least 1 of stdin, stdout, stderr"));
    }
    let (protocol, response) = negotiate(request.headers(), Endpoint::Remote).map_err(refuse)?;
    let upgrade = hyper::upgrade::on(&mut request);
    coracle_tasks::spawn("remote-command", async move {
        let result = async {
            let transport = upgrade.await.map_err(|error| error.to_string())?;
            let remote = Remote::open(Box::new(TokioIo::new(transport)), protocol, wanted).await;
            let remote = remote.map_err(|error| error.to_string())?;
            serve(remote, process).await.map_err(|error| error.to_string())
        };
        if let Err(error) = result.await {
            tracing::debug!(error, "remote command");
        }
    });
    Ok(empty(response))
}

pub(super) fn refuse(error: NegotiateError) -> Refusal {
    let status = match error {
        NegotiateError::NoProtocol { .. } => StatusCode::FORBIDDEN,
        NegotiateError::NoUpgrade | NegotiateError::NoKey => StatusCode::BAD_REQUEST,
    };
    Refusal(status, error.to_string())
}

pub(super) fn empty(response: Response<()>) -> Response<Body> {
    response.map(|()| Empty::<Bytes>::new().map_err(|never| match never {}).boxed())
}

async fn serve(mut remote: Remote, process: Effect<Process>) -> Result<(), crate::streams::StreamError> {
    let outcome = match process.await {
        Ok(process) => pump(&mut remote, process).await,
        Err(error) => Outcome::Failed(format!("error executing command in container: {error}")),
    };
    remote.close(&outcome).await
}

/// Moves bytes until the process has ended and all it wrote is sent.
async fn pump(remote: &mut Remote, process: Process) -> Outcome {
    let Process { stdin, stdout, stderr, mut control } = process;
    let input = feed(remote.stdin.take(), stdin);
    let output = async { tokio::join!(drain(stdout, remote.stdout.clone()), drain(stderr, remote.stderr.clone())) };
    let watch = wait(control.as_mut(), remote.resize.take());
    tokio::pin!(input, output, watch);
    let (mut feeding, mut draining, mut outcome) = (true, true, None);
    loop {
        tokio::select! {
            () = &mut input, if feeding => feeding = false,
            (left, _) = &mut output, if draining => {
                draining = false;
                // Nobody is left to run it for.
                if left == Drained::ClientGone {
                    return Outcome::Failed("the client has gone".to_owned());
                }
            }
            ended = &mut watch, if outcome.is_none() => outcome = Some(ended),
        }
        if !draining && let Some(outcome) = outcome.take() {
            return outcome;
        }
    }
}

/// The exit of the process; sizes reach its terminal meanwhile.
async fn wait(control: &mut dyn ProcessControl, mut resize: Option<mpsc::Receiver<Bytes>>) -> Outcome {
    loop {
        let resized = async {
            match resize.as_mut() {
                Some(resize) => resize.recv().await,
                None => std::future::pending().await,
            }
        };
        let bytes = tokio::select! {
            ended = control.wait() => {
                return match ended {
                    Ok(code) => Outcome::Exited(code),
                    Err(error) => Outcome::Failed(error),
                };
            }
            bytes = resized => bytes,
        };
        match bytes {
            Some(bytes) => sizes(&bytes).into_iter().for_each(|size| control.resize(size)),
            None => resize = None,
        }
    }
}

async fn feed(from: Option<mpsc::Receiver<Bytes>>, to: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    while let Some(bytes) = from.recv().await {
        if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() {
            // The process reads no more.
            return;
        }
    }
    // Closing tells the process that there is no more; it may have ended already.
    let _ = to.shutdown().await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    End,
    ClientGone,
}

async fn drain(from: Option<Box<dyn AsyncRead + Send + Unpin>>, to: Option<Sink>) -> Drained {
    let Some(mut from) = from else { return Drained::End };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return Drained::End,
            Ok(length) => {
                if let Some(to) = &to
                    && to.send(&buffer[..length]).await.is_err()
                {
                    return Drained::ClientGone;
                }
            }
        }
    }
}
