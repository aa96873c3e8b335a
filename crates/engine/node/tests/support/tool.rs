//! The only program of the test image: a static binary with a few things to do. The tests compile it themselves.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::TcpListener,
    process::exit,
    thread::sleep,
    time::Duration,
};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // An HTTP server whose every answer is its environment's WORD.
        ["serve", port] => {
            let listener = TcpListener::bind(("0.0.0.0", port.parse().expect("a port"))).expect("a free port");
            println!("listening");
            let word = env::var("WORD").unwrap_or_default();
            for mut connection in listener.incoming().flatten() {
                let mut request = [0; 1024];
                let _ = connection.read(&mut request);
                let _ = write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{word}", word.len());
            }
        }
        ["say-and-sleep", words] => {
            println!("{words}");
            eprintln!("{words} aloud");
            sleep(Duration::from_secs(3600));
        }
        ["say-and-exit", words, code] => {
            println!("{words}");
            fs::write("/dev/termination-log", format!("last {words}")).expect("writable");
            exit(code.parse().expect("a code"));
        }
        ["eat", megabytes] => {
            let eaten: Vec<Vec<u8>> = (0..megabytes.parse().expect("a number")).map(|_| vec![1u8; 1 << 20]).collect();
            println!("ate {}", eaten.len());
        }
        ["show", path] => print!("{}", fs::read_to_string(path).expect("readable")),
        ["env", name] => println!("{}", env::var(name).unwrap_or_default()),
        ["cat"] => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).expect("text");
            print!("{text}");
        }
        ["exit", code] => exit(code.parse().expect("a code")),
        ref other => {
            eprintln!("unknown: {other:?}");
            exit(64);
        }
    }
}
