//! How far a build is that takes long.

use std::{
    cell::Cell,
    io::{IsTerminal, Write as _},
    time::{Duration, Instant},
};

/// A build that is done sooner says nothing.
const SILENT: Duration = Duration::from_millis(500);
/// How often the clock is looked at.
const FILES_A_LOOK: usize = 64;

/// Counts the files that are read, and tells of it on standard error: on a terminal while it takes long, and at the end
/// whenever it was asked to.
pub struct Progress {
    asked: bool,
    is_terminal: bool,
    files: Cell<usize>,
    next: Cell<Instant>,
    is_shown: Cell<bool>,
}

impl Progress {
    pub fn new(asked: bool) -> Progress {
        Progress {
            asked,
            is_terminal: std::io::stderr().is_terminal(),
            files: Cell::new(0),
            next: Cell::new(Instant::now() + SILENT),
            is_shown: Cell::new(false),
        }
    }

    pub fn file_read(&self) {
        self.files.set(self.files.get() + 1);
        if !self.is_terminal || !self.files.get().is_multiple_of(FILES_A_LOOK) {
            return;
        }
        let now = Instant::now();
        if now >= self.next.get() {
            self.next.set(now + SILENT);
            self.is_shown.set(true);
            eprint!("\r{} files read", self.files.get());
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown.get() {
            eprint!("\r\x1b[K");
        }
        if self.asked {
            eprintln!("{} files read", self.files.get());
        }
    }
}
