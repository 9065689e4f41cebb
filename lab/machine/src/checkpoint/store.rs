//! Checkpoints that outlive a run: one folder for each in the cache, named after all that went into the guest.
//!
//! A checkpoint is good for as long as a boot would make the same again. So its name is a digest of everything that a boot takes: the kernel's
//! image and the initramfs byte by byte (the modules, the firmware and our init are in it), QEMU, its arguments, and the module's parameters.
//! Whatever changes gives another name, and the old folder goes when room is needed.
//!
//! Locks are advisory ones on a file beside each folder: shared while guests go on from it, exclusive while it is made or removed. They end
//! with the process that holds them, however it ends.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::hex;
use crate::interrupt;
use crate::progress::Progress;
use crate::sys;

/// Name of the folder in the cache.
const FOLDER: &str = "checkpoints";
/// What a checkpoint that is being made is called until it is whole.
const PARTIAL: &str = "partial";
/// Name of the file that says what went into one.
const MADE_OF: &str = "made-of.json";
/// Most bytes on the disk that all of them may take. One takes some 300 MiB.
const MOST_BYTES: u64 = 8 << 30;

/// All that went into a guest, as a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
    made_of: Value,
}

/// The checkpoints in a cache.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A checkpoint's place in the cache.
#[derive(Debug)]
pub enum Place {
    /// There is one.
    Kept(Kept),
    /// There is none, and it is ours to make.
    Free(Free),
}

/// A checkpoint that is there, and stays for as long as this value lives.
#[derive(Debug)]
pub struct Kept {
    folder: PathBuf,
    _lock: File,
}

/// A place for a checkpoint that only we make.
#[derive(Debug)]
pub struct Free {
    store: Store,
    key: Key,
    lock: File,
}

impl Key {
    /// Of the contents of files, and of everything else as it is.
    pub fn of(files: &[&Path], rest: Value) -> io::Result<Self> {
        let mut digest = Sha256::new();
        let mut made_of = vec![rest];
        for path in files {
            let mut of_file = Sha256::new();
            io::copy(&mut File::open(path)?, &mut HashWriter(&mut of_file))?;
            made_of.push(hex::text(&of_file.finalize()).into());
        }
        let made_of = Value::Array(made_of);
        digest.update(made_of.to_string());
        let mut name = hex::text(&digest.finalize());
        // Enough that two are never the same, and short enough to be read.
        name.truncate(24);
        Ok(Self { name, made_of })
    }
}

impl Store {
    /// The one in a cache.
    pub fn of(cache: &Path) -> Self {
        Self {
            folder: cache.join(FOLDER),
        }
    }

    /// The checkpoint of this name, or the right to make it. Waits for another run that is making it.
    pub fn place(&self, key: Key, fresh: bool, progress: &Progress) -> io::Result<Place> {
        fs::create_dir_all(&self.folder)?;
        let lock = self.lock(&key.name)?;
        let mut running = None;
        let mut make = fresh;
        loop {
            if !make && self.folder(&key.name).is_dir() {
                if sys::try_lock(&lock, sys::Lock::Shared)? && self.folder(&key.name).is_dir() {
                    return Ok(Place::Kept(self.kept(&key, lock)?));
                }
            } else if sys::try_lock(&lock, sys::Lock::Exclusive)? {
                // Another run may have made it while this one waited.
                if !make && self.folder(&key.name).is_dir() {
                    continue;
                }
                let free = Free {
                    store: self.clone(),
                    key,
                    lock,
                };
                free.clear()?;
                return Ok(Place::Free(free));
            } else if make {
                // Guests are going on from it elsewhere: then it is not replaced.
                make = false;
                continue;
            }
            if interrupt::requested() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            running
                .get_or_insert_with(|| progress.start("waiting for another run that makes this checkpoint"))
                .tick();
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn kept(&self, key: &Key, lock: File) -> io::Result<Kept> {
        lock.set_modified(SystemTime::now())?;
        Ok(Kept {
            folder: self.folder(&key.name),
            _lock: lock,
        })
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file that stands for it, as it is: its time is that of the last use.
    fn lock(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        options.open(self.lock_path(name))
    }

    fn lock_path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.lock"))
    }

    /// Removes those that were used longest ago until all fit into so many bytes, except what is in use.
    fn make_room(&self, most: u64) -> io::Result<()> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                let key = name.split('.').next().unwrap_or_default().to_owned();
                let used = fs::metadata(self.lock_path(&key)).and_then(|file| file.modified());
                all.push((used.unwrap_or(SystemTime::UNIX_EPOCH), key, entry.path()));
            }
        }
        // The newest first.
        all.sort_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (_, key, folder) in all {
            bytes += bytes_in(&folder);
            let lock = self.lock(&key)?;
            if bytes > most && sys::try_lock(&lock, sys::Lock::Exclusive)? {
                bytes -= bytes_in(&folder);
                fs::remove_dir_all(&folder)?;
            }
        }
        Ok(())
    }
}

impl Kept {
    /// How long ago it was made, if the clock was not set back since.
    pub fn age(&self) -> Option<Duration> {
        let made = fs::metadata(self.folder.join(MADE_OF)).and_then(|file| file.modified());
        made.ok()?.elapsed().ok()
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Free {
    /// Where its files are to be put.
    pub fn folder(&self) -> PathBuf {
        self.store.folder(&format!("{}.{PARTIAL}", self.key.name))
    }

    /// Makes that folder, empty, and removes a checkpoint of this name.
    fn clear(&self) -> io::Result<()> {
        for folder in [self.folder(), self.store.folder(&self.key.name)] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::create_dir(self.folder())
    }

    /// Makes it the checkpoint of its name, now that all of its files are there, and room for it by removing old ones.
    pub fn keep(self) -> io::Result<Kept> {
        let text = serde_json::to_vec_pretty(&self.key.made_of)?;
        fs::write(self.folder().join(MADE_OF), text)?;
        fs::rename(self.folder(), self.store.folder(&self.key.name))?;
        if !sys::try_lock(&self.lock, sys::Lock::Shared)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (store, key) = (self.store.clone(), self.key.clone());
        let kept = store.kept(&key, self.lock)?;
        store.make_room(MOST_BYTES)?;
        Ok(kept)
    }
}

/// What the files of a folder take on the disk: states have holes.
fn bytes_in(folder: &Path) -> u64 {
    /// The unit of `st_blocks`, whatever the file system.
    const BLOCK: u64 = 512;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|file| file.blocks() * BLOCK)
        .sum()
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(text: &str) -> Key {
        Key::of(&[], json!(text)).unwrap()
    }

    fn place(store: &Store, text: &str) -> Place {
        store.place(key(text), false, &Progress::silent()).unwrap()
    }

    fn make(store: &Store, text: &str) -> Kept {
        let Place::Free(free) = place(store, text) else {
            panic!("{text} is there");
        };
        fs::write(free.folder().join("state"), text).unwrap();
        free.keep().unwrap()
    }

    #[test]
    fn a_byte_of_a_file_or_a_word_of_the_rest_gives_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kernel");
        let of = |contents: &str, rest: &str| {
            fs::write(&file, contents).unwrap();
            Key::of(&[&file], json!({ "rest": rest })).unwrap()
        };
        let first = of("one", "a");
        assert_eq!(first, of("one", "a"));
        assert_ne!(first.name, of("onE", "a").name);
        assert_ne!(first.name, of("one", "b").name);
        Key::of(&[Path::new("/no/kernel")], json!({})).unwrap_err();
    }

    #[test]
    fn what_was_made_is_found_again_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path());
        drop(make(&store, "a"));
        let Place::Kept(kept) = place(&store, "a") else {
            panic!("it is gone");
        };
        assert_eq!(fs::read_to_string(kept.folder().join("state")).unwrap(), "a");
        assert!(matches!(place(&store, "b"), Place::Free(_)));
    }

    #[test]
    fn what_was_not_finished_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path());
        let Place::Free(free) = place(&store, "a") else {
            panic!("there is none yet");
        };
        fs::write(free.folder().join("state"), "half").unwrap();
        drop(free);
        let Place::Free(free) = place(&store, "a") else {
            panic!("half a checkpoint was taken for one");
        };
        assert_eq!(fs::read_dir(free.folder()).unwrap().count(), 0);
    }

    #[test]
    fn a_fresh_one_replaces_it_unless_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path());
        let kept = make(&store, "a");
        let fresh = || store.place(key("a"), true, &Progress::silent()).unwrap();
        assert!(matches!(fresh(), Place::Kept(_)));
        drop(kept);
        assert!(matches!(fresh(), Place::Free(_)));
    }

    #[test]
    fn room_is_made_by_removing_what_was_used_longest_ago_and_is_not_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path());
        let used = make(&store, "in use");
        drop(make(&store, "old"));
        drop(make(&store, "new"));
        for (name, age) in [("in use", 300), ("old", 200), ("new", 100)] {
            let lock = store.lock(&key(name).name).unwrap();
            lock.set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
        }
        store
            .make_room(bytes_in(&store.folder(&key("new").name)))
            .unwrap();
        assert!(used.folder().is_dir());
        assert!(matches!(place(&store, "new"), Place::Kept(_)));
        assert!(matches!(place(&store, "old"), Place::Free(_)));
    }
}
