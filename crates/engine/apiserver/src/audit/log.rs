//! The log file: one event a line; put aside when it is long, and forgotten when it is old.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use coracle_clock::Clock;
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use tokio::sync::mpsc::Receiver;

const BATCH_BYTES: usize = 1 << 20;
/// As files that are put aside are named, so that their names sort by age.
const MOMENT: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// When a file is put aside, and when it is forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest file.
    pub bytes: u64,
    /// Files kept; 0 for all.
    pub backups: usize,
    /// Days they are kept; 0 for ever.
    pub days: u64,
}

/// Opens the file, and writes lines to it until nobody sends any more.
pub fn start(
    path: PathBuf,
    limits: Limits,
    clock: Arc<dyn Clock>,
    mut lines: Receiver<Vec<u8>>,
    dropped: Arc<AtomicU64>,
) -> io::Result<()> {
    let mut log = Log::open(path, limits, clock)?;
    let run = move || {
        let mut batch = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            batch.clear();
            batch.extend_from_slice(&line);
            let mut count = 1;
            while batch.len() < BATCH_BYTES
                && let Ok(line) = lines.try_recv()
            {
                batch.extend_from_slice(&line);
                count += 1;
            }
            if let Err(error) = log.write(&batch) {
                dropped.fetch_add(count, Ordering::Relaxed);
                tracing::error!(path = %log.path.display(), %error, "audit events are lost");
            }
        }
    };
    std::thread::Builder::new().name("audit-log".to_owned()).spawn(run).map(drop)
}

struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

impl Log {
    fn open(path: PathBuf, limits: Limits, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let file = open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, limits, clock })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.limits.bytes > 0 && self.bytes > 0 && self.bytes + lines.len() as u64 > self.limits.bytes {
            self.put_aside()?;
        }
        self.file.write_all(lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        fs::rename(&self.path, aside(&self.path, now))?;
        self.file = open(&self.path)?;
        self.bytes = 0;
        for old in self.too_old(now)? {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    fn too_old(&self, now: Timestamp) -> io::Result<Vec<PathBuf>> {
        let mut files = put_aside_before(&self.path)?;
        files.sort();
        let surplus = if self.limits.backups == 0 { 0 } else { files.len().saturating_sub(self.limits.backups) };
        let days = i64::try_from(self.limits.days).unwrap_or(i64::MAX / 100);
        let is_over = |moment: &Timestamp| {
            days > 0 && now.duration_since(*moment) > SignedDuration::from_hours(days.saturating_mul(24))
        };
        let indexed = files.into_iter().enumerate();
        Ok(indexed.filter(|(at, (moment, _))| *at < surplus || is_over(moment)).map(|(_, (_, path))| path).collect())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// `audit.log` becomes `audit-MOMENT.log`.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let (stem, extension) = names(path);
    let moment = now.to_zoned(TimeZone::UTC).strftime(MOMENT).to_string();
    path.with_file_name(format!("{stem}-{moment}{extension}"))
}

fn names(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let extension = text(path.extension()).map(|extension| format!(".{extension}"));
    (text(path.file_stem()).unwrap_or_default(), extension.unwrap_or_default())
}

fn put_aside_before(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (stem, extension) = names(path);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let file = entry?;
        let name = file.file_name().to_string_lossy().into_owned();
        let moment = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
        let moment = moment.and_then(|moment| DateTime::strptime(MOMENT, moment).ok());
        let moment = moment.and_then(|moment| moment.to_zoned(TimeZone::UTC).ok());
        found.extend(moment.map(|moment| (moment.timestamp(), file.path())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use coracle_clock::ManualClock;

    use super::*;

    #[test]
    fn long_files_are_put_aside_and_old_ones_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("audit.log");
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let check = |limits: Limits, expected: &[&str]| {
            let mut log = Log::open(path.clone(), limits, Arc::new(clock.clone())).unwrap();
            log.write(b"0123456789\n").unwrap();
            clock.advance(SignedDuration::from_hours(24));
            let names = fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            assert_eq!(names, expected);
        };
        let all = Limits { bytes: 15, backups: 0, days: 0 };
        check(all, &["audit.log"]);
        check(all, &["audit-2026-01-02T00-00-00.000.log", "audit.log"]);
        check(all, &["audit-2026-01-02T00-00-00.000.log", "audit-2026-01-03T00-00-00.000.log", "audit.log"]);
        check(Limits { backups: 1, ..all }, &["audit-2026-01-04T00-00-00.000.log", "audit.log"]);
        clock.advance(SignedDuration::from_hours(72));
        check(Limits { days: 2, ..all }, &["audit-2026-01-08T00-00-00.000.log", "audit.log"]);
    }
}
