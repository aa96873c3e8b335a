//! A server in a process of its own, killed at random while many clients write, read and watch: what they were shown is
//! what one server that never fails can have shown them, but for answers that never came.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_store::Store;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch};

use crate::{
    history::{self, Answer, Asked, Change, Data, History, Listing, MARK, Object, Operation, Sight},
    support::{TOKEN, client_tls, listen, server_over},
};

const DIRECTORY: &str = "CORACLE_APISERVER_KILL_TEST_DIRECTORY";
/// More kills than the usual few dozen.
const KILLS: &str = "CORACLE_APISERVER_KILLS";
const USUAL_KILLS: u64 = 24;
const CLIENTS: u64 = 5;
const NAMES: u64 = 24;
/// How many lives of the server each watcher lets pass before it resumes.
const WATCHERS: [u64; 3] = [0, 0, 4];
const PATIENCE: Duration = Duration::from_secs(60);
const PATH: &str = "/api/v1/namespaces/default/configmaps";
/// The object whose creation ends the story.
const LAST: &str = "last";

/// The process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below"]
async fn server_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    // Small, so that compactions are killed too, and watchers that come late are told 410.
    let options = coracle_store::Options {
        history_events: 400,
        compact_after_bytes: 500_000,
        ..coracle_store::Options::default()
    };
    let listening = listen(server_over(Store::open(Path::new(&directory), options).unwrap()).await).await;
    println!("listening {} {}", listening.address, STANDARD.encode(&listening.authority));
    // Nobody is left behind should the test itself be killed.
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

/// Where the server of one life is found.
#[derive(Clone)]
struct Door {
    life: u64,
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
}

/// A server's process, which ends with this.
struct Life(Child);

impl Life {
    fn begin(directory: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::server_that_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Waits until it listens.
    fn door(&mut self, life: u64) -> Door {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said: Vec<String> = lines
            .map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .find(|words| words.iter().any(|word| word == "listening"))
            .expect("the server did not come up");
        let [.., address, authority] = &said[..] else { panic!("{said:?}") };
        let authority = CertificateDer::from(STANDARD.decode(authority).unwrap());
        Door { life, address: address.parse().unwrap(), tls: client_tls(&authority) }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// What all clients share.
#[derive(Default)]
struct World {
    clock: AtomicU64,
    answered: AtomicU64,
    resumed: AtomicU64,
    relisted: AtomicU64,
    is_over: AtomicBool,
    operations: Mutex<Vec<Operation>>,
}

impl World {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Does one operation, and writes down what was asked and what came back.
    async fn does(&self, connection: &mut SendRequest<Full<bytes::Bytes>>, name: &str, asked: Asked) -> Answer {
        let (method, path, body) = request(name, &asked);
        let begun = self.tick();
        let answer = match exchange(connection, method, &path, body).await {
            Some((status, value)) => answer(status, &value),
            None => Answer::Unknown,
        };
        let operation = Operation { name: name.to_owned(), asked, begun, ended: self.tick(), answer: answer.clone() };
        self.operations.lock().push(operation);
        self.answered.fetch_add(1, Ordering::SeqCst);
        answer
    }
}

fn request(name: &str, asked: &Asked) -> (&'static str, String, Value) {
    let path = format!("{PATH}/{name}");
    match asked {
        Asked::Create(data) => ("POST", PATH.to_owned(), json!({"metadata": {"name": name}, "data": data})),
        Asked::Update(over, data) => {
            let metadata = json!({"name": name, "resourceVersion": over.to_string()});
            ("PUT", path, json!({"metadata": metadata, "data": data}))
        }
        Asked::Patch(data) => ("PATCH", path, json!({"data": data})),
        Asked::Delete => ("DELETE", path, Value::Null),
        Asked::Get => ("GET", path, Value::Null),
        Asked::List => ("GET", PATH.to_owned(), Value::Null),
    }
}

fn answer(status: u16, value: &Value) -> Answer {
    match (status, value["kind"].as_str().unwrap()) {
        (200 | 201, "ConfigMap") => Answer::Shown(object(value)),
        (200, "Status") => Answer::Deleted(value["details"]["uid"].as_str().unwrap().to_owned()),
        (200, "ConfigMapList") => Answer::Listed(listing(value)),
        (404, _) => Answer::NotFound,
        (409, _) => Answer::Refused,
        _ => panic!("{status} {value}"),
    }
}

fn version(value: &Value) -> u64 {
    value["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn object(value: &Value) -> Object {
    let uid = value["metadata"]["uid"].as_str().unwrap().to_owned();
    Object { version: version(value), uid, data: serde_json::from_value(value["data"].clone()).unwrap_or_default() }
}

fn name(value: &Value) -> String {
    value["metadata"]["name"].as_str().unwrap().to_owned()
}

fn listing(value: &Value) -> Listing {
    let items = value["items"].as_array().unwrap();
    Listing { version: version(value), objects: items.iter().map(|item| (name(item), object(item))).collect() }
}

async fn connect(door: &Door) -> Option<SendRequest<Full<bytes::Bytes>>> {
    let stream = TcpStream::connect(door.address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(door.tls.clone()).connect(name, stream).await.ok()?;
    let (sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.ok()?;
    coracle_tasks::spawn("client-connection", async move {
        let _ended = connection.await;
    });
    Some(sender)
}

async fn send(
    connection: &mut SendRequest<Full<bytes::Bytes>>,
    method: &str,
    path: &str,
    body: Value,
) -> Option<http::Response<Incoming>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", media_type)
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Full::from(body))
        .unwrap();
    connection.ready().await.ok()?;
    connection.send_request(request).await.ok()
}

/// One request and the whole answer, or nothing where the connection broke.
async fn exchange(
    connection: &mut SendRequest<Full<bytes::Bytes>>,
    method: &str,
    path: &str,
    body: Value,
) -> Option<(u16, Value)> {
    let exchange = async {
        let answer = send(connection, method, path, body).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&bytes).unwrap()))
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("the server does not answer")
}

/// A small generator of numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % sides
    }
}

/// Waits for a life of the server, `life` or a later one; nothing once there will be none.
async fn door(doors: &mut watch::Receiver<Option<Door>>, life: u64) -> Option<Door> {
    let is_there = |door: &Option<Door>| door.as_ref().is_some_and(|door| door.life >= life);
    doors.wait_for(is_there).await.ok()?.clone()
}

/// Writes and reads until the story is over.
async fn work(world: Arc<World>, mut doors: watch::Receiver<Option<Door>>, client: u64) {
    let mut dice = Dice(client);
    let (mut life, mut written) = (0, 0);
    while let Some(door) = door(&mut doors, life).await {
        life = door.life + 1;
        let Some(mut connection) = connect(&door).await else { continue };
        loop {
            if world.is_over.load(Ordering::SeqCst) {
                return;
            }
            written += 1;
            let name = format!("object-{}", dice.roll(NAMES));
            let me = format!("client-{client}");
            let data = Data::from([(MARK.to_owned(), format!("{me}-{written}")), (me, written.to_string())]);
            let asked = match dice.roll(12) {
                0..2 => Asked::Create(data),
                2..5 => match world.does(&mut connection, &name, Asked::Get).await {
                    Answer::Shown(object) => {
                        Asked::Update(object.version, object.data.into_iter().chain(data).collect())
                    }
                    Answer::Unknown => break,
                    _ => Asked::Create(data),
                },
                5..8 => Asked::Patch(data),
                8 => Asked::Delete,
                9..11 => Asked::Get,
                _ => Asked::List,
            };
            if matches!(world.does(&mut connection, &name, asked).await, Answer::Unknown) {
                break;
            }
        }
    }
}

/// Watches from life to life, from where it was, until it has seen the end.
async fn look(world: Arc<World>, mut doors: watch::Receiver<Option<Door>>, lag: u64) -> Vec<Sight> {
    let mut sights = Vec::new();
    let mut life = 0;
    while let Some(door) = door(&mut doors, life).await {
        life = door.life + 1 + lag;
        if look_on(&world, &door, &mut sights).await {
            return sights;
        }
        if world.is_over.load(Ordering::SeqCst) {
            life = 0;
        }
    }
    sights
}

/// Watches one life of the server; whether the end was seen.
async fn look_on(world: &World, door: &Door, sights: &mut Vec<Sight>) -> bool {
    let mut from = sights.last().map(|sight| match sight {
        Sight::Listed(listing) => listing.version,
        Sight::Changed { object, .. } => object.version,
        Sight::Bookmark(version) => *version,
    });
    loop {
        let Some(mut connection) = connect(door).await else { return false };
        let version = match from {
            Some(version) => version,
            None => {
                let Answer::Listed(listing) = world.does(&mut connection, "", Asked::List).await else { return false };
                let version = listing.version;
                let has_ended = listing.objects.contains_key(LAST);
                sights.push(Sight::Listed(listing));
                if has_ended {
                    return true;
                }
                version
            }
        };
        let path = format!("{PATH}?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
        let Some(answer) = send(&mut connection, "GET", &path, Value::Null).await else { return false };
        assert!([200, 410].contains(&answer.status().as_u16()), "{answer:?}");
        match follow(world, answer.into_body(), sights).await {
            Followed::Broken => return false,
            Followed::Ended => return true,
            Followed::Gone => {
                world.relisted.fetch_add(1, Ordering::SeqCst);
                from = None;
            }
        }
    }
}

enum Followed {
    Broken,
    Gone,
    Ended,
}

async fn follow(world: &World, mut body: Incoming, sights: &mut Vec<Sight>) -> Followed {
    let (mut buffer, mut is_resumed) = (Vec::new(), false);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap();
            let shown = &event["object"];
            let change = match event["type"].as_str() {
                Some("ADDED") => Change::Added,
                Some("MODIFIED") => Change::Modified,
                Some("DELETED") => Change::Deleted,
                Some("BOOKMARK") => {
                    sights.push(Sight::Bookmark(version(shown)));
                    continue;
                }
                _ => {
                    assert_eq!(shown["code"], 410, "{event}");
                    return Followed::Gone;
                }
            };
            if !std::mem::replace(&mut is_resumed, true) {
                world.resumed.fetch_add(1, Ordering::SeqCst);
            }
            sights.push(Sight::Changed { change, name: name(shown), object: object(shown), at: world.tick() });
            if name(shown) == LAST {
                return Followed::Ended;
            }
        }
    }
    Followed::Broken
}

/// Lets the clients get on, by a number of answers, and a moment more.
async fn let_work(world: &World, answers: u64, micros: u64) {
    let until = world.answered.load(Ordering::SeqCst) + answers;
    crate::support::eventually("an answer", || async { world.answered.load(Ordering::SeqCst) >= until }).await;
    tokio::time::sleep(Duration::from_micros(micros)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_server_that_is_killed_see_one_history() {
    let kills = std::env::var(KILLS).map_or(USUAL_KILLS, |kills| kills.parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    let (announce, doors) = watch::channel(None);
    let mut dice = Dice(std::process::id().into());
    let mut workers = Vec::new();
    let mut watchers = Vec::new();
    for life in 0..kills {
        let mut server = Life::begin(home.path());
        if life % 6 == 5 {
            // Killed while it starts.
            tokio::time::sleep(Duration::from_micros(dice.roll(200_000))).await;
            continue;
        }
        announce.send_replace(Some(server.door(life)));
        if life == 0 {
            let look = |lag: &u64| coracle_tasks::spawn("watcher", look(world.clone(), doors.clone(), *lag));
            watchers.extend(WATCHERS.iter().map(look));
            // They list before there is anything, and so know all there ever was.
            let_work(&world, WATCHERS.len() as u64, 0).await;
            let work = |client| coracle_tasks::spawn("client", work(world.clone(), doors.clone(), client));
            workers.extend((0..CLIENTS).map(work));
        }
        let_work(&world, dice.roll(300), dice.roll(3_000)).await;
    }
    let mut server = Life::begin(home.path());
    let last = server.door(kills + WATCHERS.iter().max().unwrap());
    announce.send_replace(Some(last.clone()));
    let_work(&world, 50, 0).await;
    world.is_over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    let mut connection = connect(&last).await.unwrap();
    let mark = Data::from([(MARK.to_owned(), LAST.to_owned())]);
    assert!(matches!(world.does(&mut connection, LAST, Asked::Create(mark)).await, Answer::Shown(_)));
    world.does(&mut connection, "", Asked::List).await;
    let looked = tokio::time::timeout(PATIENCE, join_all(watchers)).await.expect("a watcher never saw the end");
    let watchers = looked.into_iter().map(Result::unwrap).collect();
    let history = History { operations: std::mem::take(&mut *world.operations.lock()), watchers };
    let summary = history::check(&history).unwrap_or_else(|refusal| panic!("{refusal}"));
    let (resumed, relisted) = (world.resumed.load(Ordering::SeqCst), world.relisted.load(Ordering::SeqCst));
    println!(
        "{kills} kills, {} operations, {summary:?}, {resumed} watches, {relisted} begun anew",
        history.operations.len()
    );
    assert!(summary.versions as u64 > kills * 5 && summary.unwatched * 2 < summary.versions, "{summary:?}");
    assert!(resumed > kills / 2, "{resumed} watches went on");
}
