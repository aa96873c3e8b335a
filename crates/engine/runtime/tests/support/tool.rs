//! The only program of the test images: a static binary with a few things to do. Compiled by the tests themselves, with rustc alone.

use std::{
    env, fs,
    io::{self, Read, Write},
    process::exit,
    thread::sleep,
    time::Duration,
};

unsafe extern "C" {
    fn signal(number: i32, handler: usize) -> usize;
    fn unshare(flags: i32) -> i32;
    fn ioctl(fd: i32, request: u64, ...) -> i32;
}

extern "C" fn leave(_: i32) {
    exit(7)
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize| args[index].parse::<usize>().expect("a number");
    match args[0].as_str() {
        "echo" => println!("{}", args[1..].join(" ")),
        "both" => {
            println!("to stdout");
            eprintln!("to stderr");
        }
        "exit" => exit(number(1) as i32),
        "sleep" => sleep(Duration::from_secs(3600)),
        "graceful" => {
            unsafe { signal(15, leave as *const () as usize) };
            println!("ready");
            sleep(Duration::from_secs(3600));
        }
        "lines" => {
            let line = "x".repeat(number(2));
            let mut out = io::stdout().lock();
            for n in 0..number(1) {
                writeln!(out, "{n} {line}").expect("stdout takes it");
            }
        }
        "eat" => {
            let mut eaten = Vec::new();
            for _ in 0..number(1) {
                eaten.push(vec![1u8; 1 << 20]);
            }
            println!("ate {}", eaten.len());
        }
        "cat" => {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = io::stdin().read(&mut buffer) {
                io::stdout().write_all(&buffer[..n]).expect("stdout takes it");
                io::stdout().flush().expect("stdout takes it");
            }
            println!("end of input");
        }
        "show" => args[1..].iter().for_each(|path| match fs::read_to_string(path) {
            Ok(text) => print!("{text}"),
            Err(error) => println!("{path}: {error}"),
        }),
        "ls" => {
            let mut names: Vec<String> =
                fs::read_dir(&args[1]).expect("a directory").map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            println!("{}", names.join(" "));
        }
        "write" => match fs::write(&args[1], &args[2]) {
            Ok(()) => println!("wrote {}", args[1]),
            Err(error) => println!("{}: {error}", args[1]),
        },
        "remove" => fs::remove_file(&args[1]).or_else(|_| fs::remove_dir_all(&args[1])).expect("it can be removed"),
        "env" => env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "pwd" => println!("{}", env::current_dir().unwrap().display()),
        "unshare" => println!("{}", if unsafe { unshare(0x1000_0000) } == 0 { "allowed".into() } else { io::Error::last_os_error().to_string() }),
        "size" => {
            let mut size = [0u16; 4];
            let result = unsafe { ioctl(0, 0x5413, &mut size) };
            println!("{result} {}x{}", size[1], size[0]);
        }
        "children" => {
            // Leaves processes behind that hold the output open.
            for _ in 0..3 {
                std::process::Command::new("/bin/tool").arg("sleep").spawn().expect("a child starts");
            }
            println!("left");
        }
        other => {
            eprintln!("what is {other}?");
            exit(2)
        }
    }
}
