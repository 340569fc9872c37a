//! Store: the folders of models, what is known of each, and how one goes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{Manifest, Name, StoreError, disk, locks::Lock};

/// What the store keeps for itself; its name begins with a dot, so that it is no model.
const OWN: &str = ".webinfer";
/// What is being downloaded.
const PART: &str = "part";
/// What a newer one stands in for in a moment.
const OLD: &str = "old";
/// What is being removed.
const GONE: &str = "gone";

/// The folder of models. Cheap to copy; nothing is read or made before it is needed.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A folder in it.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub folder: PathBuf,
    /// Bytes of all its files.
    pub bytes: u64,
    /// Where it was pulled from; `None` where it was not.
    pub manifest: Option<Manifest>,
    /// What is wrong with the manifest.
    pub fault: Option<String>,
    /// When a service loaded it last, or when it was pulled.
    pub last_used: Option<SystemTime>,
    /// Whether a service has it.
    pub in_use: bool,
}

/// A download that did not end.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Of which model.
    pub name: String,
    /// What is there of it.
    pub bytes: u64,
    /// What it is to have in the end.
    pub planned: u64,
    /// Whether somebody is at it.
    pub active: bool,
}

impl Store {
    /// Of a folder of models, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder of models.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a model is, or will be.
    pub fn folder(&self, name: &Name) -> PathBuf {
        self.root.join(name.as_ref())
    }

    fn own(&self, name: &str, ending: &str) -> PathBuf {
        self.root.join(OWN).join(format!("{name}.{ending}"))
    }

    /// Held while folders come and go.
    pub(crate) fn lock(&self) -> Result<Lock, StoreError> {
        let lock = Lock::soon(&self.root.join(OWN).join("lock"))?;
        self.tidy()?;
        Ok(lock)
    }

    /// Held by services that have a model, and by who replaces it.
    pub(crate) fn use_lock(&self, name: &str) -> PathBuf {
        self.own(name, "use")
    }

    /// Held by who pulls a model.
    pub(crate) fn pull_lock(&self, name: &str) -> PathBuf {
        self.own(name, "pull")
    }

    /// Where a model is put together.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.own(name, PART)
    }

    /// Whether it is a folder that was pulled.
    pub(crate) fn is_pulled(&self, name: &Name) -> bool {
        let folder = self.folder(name);
        disk::is_folder(&folder) && folder.join(crate::MANIFEST).symlink_metadata().is_ok_and(|file| file.is_file())
    }

    /// All folders, by name.
    pub fn list(&self) -> Result<Vec<Held>, StoreError> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(StoreError::io(&self.root))?,
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.') && self.root.join(name).is_dir())
            .collect();
        names.sort();
        Ok(names.into_iter().map(|name| self.look(name)).collect())
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Result<Held, StoreError> {
        // Only what is listed is looked at, so that no name leads out.
        let found = self.list()?.into_iter().find(|held| held.name == name);
        found.ok_or_else(|| StoreError::Missing { name: name.to_owned(), folder: self.root.display().to_string() })
    }

    fn look(&self, name: String) -> Held {
        let folder = self.root.join(&name);
        let real = disk::is_folder(&folder) && name.parse::<Name>().is_ok();
        let manifest = if real { Manifest::read(&folder) } else { Ok(None) };
        let used = |path: PathBuf| path.metadata().and_then(|metadata| metadata.modified()).ok();
        let lock = self.use_lock(&name);
        Held {
            bytes: disk::size(&folder),
            fault: manifest.as_ref().err().map(ToString::to_string),
            manifest: manifest.ok().flatten(),
            last_used: used(lock.clone()).or_else(|| used(folder.join(crate::MANIFEST))),
            in_use: Lock::is_held(&lock),
            name,
            folder,
        }
    }

    /// Downloads that did not end, by name.
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let entries = fs::read_dir(self.root.join(OWN)).into_iter().flatten();
        let mut all: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_suffix(".part").map(str::to_owned))
            .map(|name| {
                let folder = self.part(&name);
                let plan = Manifest::read(&folder).ok().flatten();
                let active = Lock::is_held(&self.pull_lock(&name));
                Unfinished { bytes: disk::size(&folder), planned: plan.map_or(0, |plan| plan.bytes()), active, name }
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Removes a model, and what is there of a download of it; returns how many bytes that were.
    pub fn remove(&self, name: &str, force: bool) -> Result<u64, StoreError> {
        let unfinished = || self.unfinished().into_iter().find(|part| part.name == name);
        let held = match self.get(name) {
            Ok(held) => Some(held),
            Err(error @ StoreError::Missing { .. }) => unfinished().is_some().then_some(None).ok_or(error)?,
            Err(error) => return Err(error),
        };
        if held.as_ref().is_some_and(|held| held.manifest.is_none()) && !force {
            return Err(StoreError::NotPulled { name: name.to_owned() });
        }
        let _lock = self.lock()?;
        let mut bytes = 0;
        if let Some(held) = held {
            self.take_away(&held.name)?;
            bytes += held.bytes;
        }
        if let Some(part) = unfinished().filter(|part| !part.active) {
            self.drop_part(&part.name)?;
            bytes += part.bytes;
        }
        Ok(bytes)
    }

    /// Removes a folder that nobody uses; it is all there, or gone. For who holds the lock.
    pub(crate) fn take_away(&self, name: &str) -> Result<(), StoreError> {
        let (folder, gone, lock) = (self.root.join(name), self.own(name, GONE), self.use_lock(name));
        let _alone = Lock::alone(&lock)?.ok_or_else(|| StoreError::InUse { name: name.to_owned() })?;
        fs::rename(&folder, &gone).map_err(StoreError::io(&folder))?;
        remove(&gone).map_err(StoreError::io(&gone))
    }

    /// Forgets what is there of a download. For who holds the lock, where nobody is at the download.
    pub(crate) fn drop_part(&self, name: &str) -> Result<(), StoreError> {
        let part = self.part(name);
        remove(&part).map_err(StoreError::io(&part))
    }

    /// Puts a folder that is whole in a model's place.
    #[cfg(feature = "hub")]
    pub(crate) fn put(&self, name: &Name, whole: &Path) -> Result<(), StoreError> {
        let _lock = self.lock()?;
        let (folder, lock) = (self.folder(name), self.use_lock(name.as_ref()));
        let alone = Lock::alone(&lock)?.ok_or_else(|| StoreError::InUse { name: name.to_string() })?;
        alone.touch(SystemTime::now());
        let old = self.own(name.as_ref(), OLD);
        let replaced = disk::is_folder(&folder);
        if replaced {
            fs::rename(&folder, &old).map_err(StoreError::io(&folder))?;
        }
        let put = fs::rename(whole, &folder).and_then(|()| disk::sync_folder(&self.root));
        if let Err(error) = put {
            if replaced {
                let _ = fs::rename(&old, &folder);
            }
            return Err(StoreError::io(&folder)(error));
        }
        self.tidy()
    }

    /// Ends what a process that is gone had begun. For who holds the lock.
    fn tidy(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(self.root.join(OWN)).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let Some((name, ending)) = path.file_name().and_then(|name| name.to_str()?.rsplit_once('.')) else {
                continue;
            };
            let folder = self.root.join(name);
            let done = match ending {
                // It was to be replaced, and nothing came in its place.
                OLD if !folder.is_symlink() && !folder.exists() => fs::rename(&path, &folder),
                OLD => {
                    let gone = self.own(name, GONE);
                    fs::rename(&path, &gone).and_then(|()| remove(&gone))
                }
                GONE => remove(&path),
                _ => Ok(()),
            };
            done.map_err(StoreError::io(&path))?;
        }
        Ok(())
    }
}

/// Removes a folder with all that is in it, or a link; nothing that a link leads to.
fn remove(path: &Path) -> io::Result<()> {
    let done = if path.is_symlink() { fs::remove_file(path) } else { fs::remove_dir_all(path) };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
