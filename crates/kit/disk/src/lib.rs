//! The door to the disk: what a store needs of one, a directory that gives it, and a disk in memory that can fail,
//! tear writes and lose what was not synced.

mod directory;
mod memory;

use std::io;

pub use directory::Directory;
pub use memory::{Crash, Fault, MemoryDisk};

/// A flat directory of files that a store has for itself.
pub trait Disk: Send + Sync + 'static {
    /// Where it is, for messages.
    fn place(&self) -> String;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new, empty file, in place of one that has the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// A file that is there, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, in place of one that has it already.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable: after it, what was created, renamed and removed stays so.
    fn sync(&self) -> io::Result<()>;
}

/// A file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` from `offset` on, as far as the file goes, and says how far that was.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync(&mut self) -> io::Result<()>;
}
