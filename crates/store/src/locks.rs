//! Locks: who works on the folder, and who uses a model. They are of the system, so that they end with their process.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{Name, Store, StoreError};

/// How long who works on the folder is waited for; all of it is renaming and removing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a lock is waited for that others hold for as long as they use something: who only looks has it for a moment.
const MOMENT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);

/// A lock, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(File);

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        if folder.is_symlink() {
            let what = format!("{} is a link; remove it", folder.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        fs::create_dir_all(folder)?;
    }
    File::options().create(true).truncate(false).read(true).write(true).open(path)
}

/// A lock of one kind; `None` where somebody holds it for longer than that.
fn wait(path: &Path, time: Duration, lock: fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Lock>> {
    let (file, begin) = (open(path)?, Instant::now());
    loop {
        match lock(&file) {
            Ok(()) => return Ok(Some(Lock(file))),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begin.elapsed() < time => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(None),
        }
    }
}

impl Lock {
    /// The lock for one alone; `None` where somebody has it.
    pub fn alone(path: &Path) -> Result<Option<Self>, StoreError> {
        wait(path, MOMENT, File::try_lock).map_err(StoreError::io(path))
    }

    /// The same of what nobody has for long.
    pub fn soon(path: &Path) -> Result<Self, StoreError> {
        let lock = wait(path, PATIENCE, File::try_lock).map_err(StoreError::io(path))?;
        lock.ok_or_else(|| StoreError::Locked { path: path.display().to_string() })
    }

    /// Notes a time in it.
    pub fn touch(&self, now: SystemTime) {
        // Where it cannot be noted, the model only looks unused.
        let _ = self.0.set_modified(now);
    }

    /// Whether somebody has it. Nothing is made to find out.
    pub fn is_held(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }
}

/// A pulled model that a service has: until this is dropped nobody removes or replaces its files.
#[derive(Debug)]
pub struct InUse(Lock);

impl InUse {
    /// Takes hold of the folder `source` below `models`; `None` where that was not pulled, and where this process may not
    /// write, so that it can hold nobody up.
    pub fn take(models: &Path, source: &str) -> Result<Option<Self>, StoreError> {
        let Ok(name) = source.parse::<Name>() else { return Ok(None) };
        let store = Store::new(models);
        if !store.is_pulled(&name) {
            return Ok(None);
        }
        let path = store.use_lock(name.as_ref());
        match wait(&path, MOMENT, File::try_lock_shared) {
            Ok(Some(lock)) => Ok(Some(Self(lock))),
            Ok(None) => Err(StoreError::InUse { name: source.to_owned() }),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
            {
                Ok(None)
            }
            Err(error) => Err(StoreError::io(&path)(error)),
        }
    }

    /// Notes that it is used now: what was not used for longest gives way first.
    pub fn touch(&self, now: SystemTime) {
        self.0.touch(now);
    }
}
