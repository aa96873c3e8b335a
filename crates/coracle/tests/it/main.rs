//! Scenarios driven through the front door: the binary, git, kubectl and HTTP, with real containers.

mod bad_input;
mod base_images;
mod builds;
mod clients;
mod full_disk;
mod keeping;
mod kubectl;
mod logs;
mod metrics;
mod previews;
mod privileges;
mod render;
mod side_by_side;
mod story;
mod terminal;

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use anyhow::Context;
use coracle_harness::{Engine, Repository};

/// The program under test.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_coracle"))
}

/// The sample app's binary, as the program carries it.
fn hello() -> anyhow::Result<Vec<u8>> {
    let path = concat!(env!("OUT_DIR"), "/hello");
    std::fs::read(path).with_context(|| format!("the sample app {path}"))
}

/// A repository with the sample app and its Dockerfile.
fn hello_repository() -> anyhow::Result<Repository> {
    let repository = Repository::new()?;
    repository.write("hello", &hello()?, true)?;
    repository.write("Dockerfile", include_bytes!("../../../../examples/hello/Dockerfile"), false)?;
    repository.commit("Say hello")?;
    Ok(repository)
}

/// Pushes the sample app's repository as `app`, which must succeed.
fn deploy_hello(engine: &Engine, app: &str) -> anyhow::Result<Repository> {
    let repository = hello_repository()?;
    let (pushed, said) = push(engine, &repository, app, "main")?;
    anyhow::ensure!(pushed, "{said}");
    Ok(repository)
}

/// Pushes `refspec`; whether git was content, and what it printed.
fn push(engine: &Engine, repository: &Repository, app: &str, refspec: &str) -> anyhow::Result<(bool, String)> {
    let output = repository.try_git(&["push", "--force", &engine.git_url(app)?, refspec])?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// One request to the gateway; the body of a 200.
fn get(engine: &Engine, host: &str, path: &str) -> anyhow::Result<String> {
    let address = engine.url("gateway").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    anyhow::ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "{host}{path} answered {}",
        answer.lines().next().unwrap_or_default()
    );
    Ok(answer)
}
