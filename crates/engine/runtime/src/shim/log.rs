//! A container's output as the CRI log format writes it: `TIME stdout F text`, one line a record, with rotation.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use coracle_clock::Clock;
use jiff::Timestamp;

use crate::spec::LogSpec;

/// A longer line is cut into records marked `P`, the last of them `F`.
const MAX_LINE_BYTES: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The file, and what either stream has not ended with a line feed yet.
pub(super) struct Log<C> {
    spec: LogSpec,
    clock: C,
    file: File,
    written_bytes: u64,
    pending: [Vec<u8>; 2],
    records: Vec<u8>,
}

impl<C: Clock> Log<C> {
    pub fn open(spec: LogSpec, clock: C) -> io::Result<Self> {
        let file = open(&spec.path)?;
        let written_bytes = file.metadata()?.len();
        Ok(Self { spec, clock, file, written_bytes, pending: [Vec::new(), Vec::new()], records: Vec::new() })
    }

    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
        let now = self.clock.now();
        let mut pending = std::mem::take(&mut self.pending[stream as usize]);
        while !bytes.is_empty() {
            let room = MAX_LINE_BYTES - pending.len();
            let line_end = memchr(bytes);
            let cut = line_end.unwrap_or(bytes.len()).min(room);
            pending.extend_from_slice(&bytes[..cut]);
            bytes = &bytes[cut..];
            if line_end == Some(cut) {
                bytes = &bytes[1..];
                self.record(now, stream, true, &pending);
                pending.clear();
            } else if pending.len() == MAX_LINE_BYTES {
                self.record(now, stream, false, &pending);
                pending.clear();
            }
        }
        self.pending[stream as usize] = pending;
        self.flush()
    }

    /// What is left without a line feed when the stream ends becomes a record too.
    pub fn finish(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            if !pending.is_empty() {
                self.record(now, stream, false, &pending);
            }
        }
        self.flush()
    }

    fn record(&mut self, now: Timestamp, stream: Stream, whole: bool, text: &[u8]) {
        let _ = write!(self.records, "{now:.9} {} {} ", stream.name(), if whole { 'F' } else { 'P' });
        self.records.extend_from_slice(text);
        self.records.push(b'\n');
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        if self.written_bytes > 0 && self.written_bytes + self.records.len() as u64 > self.spec.max_bytes {
            self.rotate()?;
        }
        let result = self.file.write_all(&self.records);
        self.written_bytes += self.records.len() as u64;
        self.records.clear();
        // One burst of output must not stay in memory for the life of the container.
        self.records.shrink_to(MAX_LINE_BYTES * 2);
        result
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = self.clock.now().strftime("%Y%m%d-%H%M%S").to_string();
        let mut target = with_suffix(&self.spec.path, &stamp);
        // Two rotations within a second keep their order.
        let mut number = 1;
        while target.exists() {
            target = with_suffix(&self.spec.path, &format!("{stamp}.{number:03}"));
            number += 1;
        }
        fs::rename(&self.spec.path, target)?;
        self.file = open(&self.spec.path)?;
        self.written_bytes = 0;
        let mut old = rotated(&self.spec.path)?;
        let keep = (self.spec.max_files.max(1) - 1) as usize;
        old.truncate(old.len().saturating_sub(keep));
        old.iter().try_for_each(fs::remove_file)
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().append(true).create(true).mode(0o640).open(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// The older files beside `path`, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = with_suffix(path, "").file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap_or(Path::new("/")))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use coracle_clock::ManualClock;
    use expect_test::{Expect, expect};
    use jiff::SignedDuration;

    use super::*;

    fn check(max_bytes: u64, max_files: u32, chunks: &[(Stream, &str)], expected: Expect) {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new("2026-01-02T03:04:05.6Z".parse().unwrap());
        let spec = LogSpec { path: directory.path().join("0.log"), max_bytes, max_files };
        let mut log = Log::open(spec.clone(), clock.clone()).unwrap();
        for (stream, text) in chunks {
            log.write(*stream, text.as_bytes()).unwrap();
            clock.advance(SignedDuration::from_millis(600));
        }
        log.finish().unwrap();
        let mut files = rotated(&spec.path).unwrap();
        files.push(spec.path);
        let mut shown = String::new();
        for file in files {
            shown +=
                &format!("== {}\n{}", file.file_name().unwrap().to_string_lossy(), fs::read_to_string(&file).unwrap());
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn lines_become_records() {
        use Stream::{Stderr, Stdout};
        check(
            1 << 20,
            5,
            &[(Stdout, "one\ntwo\nth"), (Stderr, "oops\n"), (Stdout, "ree\n\n"), (Stdout, "no end")],
            expect![[r#"
                == 0.log
                2026-01-02T03:04:05.600000000Z stdout F one
                2026-01-02T03:04:05.600000000Z stdout F two
                2026-01-02T03:04:06.200000000Z stderr F oops
                2026-01-02T03:04:06.800000000Z stdout F three
                2026-01-02T03:04:06.800000000Z stdout F 
                2026-01-02T03:04:08.000000000Z stdout P no end
            "#]],
        );
    }

    #[test]
    fn old_files_go() {
        use Stream::Stdout;
        let line = format!("{}\n", "x".repeat(20));
        check(
            100,
            3,
            &[(Stdout, &line), (Stdout, &line), (Stdout, &line), (Stdout, &line), (Stdout, "last\n")],
            expect![[r#"
                == 0.log.20260102-030407
                2026-01-02T03:04:06.800000000Z stdout F xxxxxxxxxxxxxxxxxxxx
                == 0.log.20260102-030408
                2026-01-02T03:04:07.400000000Z stdout F xxxxxxxxxxxxxxxxxxxx
                == 0.log
                2026-01-02T03:04:08.000000000Z stdout F last
            "#]],
        );
    }

    #[test]
    fn long_lines_are_cut() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap());
        let spec = LogSpec::new(directory.path().join("0.log"));
        let mut log = Log::open(spec.clone(), clock).unwrap();
        let text = "y".repeat(MAX_LINE_BYTES * 2 + 3) + "\nz\n";
        for chunk in text.as_bytes().chunks(1000) {
            log.write(Stream::Stdout, chunk).unwrap();
        }
        let content = fs::read_to_string(&spec.path).unwrap();
        let shape: Vec<(String, usize)> = content
            .lines()
            .map(|line| line.splitn(4, ' ').collect::<Vec<_>>())
            .map(|fields| (fields[2].to_owned(), fields[3].len()))
            .collect();
        let full = MAX_LINE_BYTES;
        assert_eq!(shape, [("P".into(), full), ("P".into(), full), ("F".into(), 3), ("F".into(), 1)]);
    }
}
