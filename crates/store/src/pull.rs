//! Pull: a model from a listing to its place, or nothing at all.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    MANIFEST, Manifest, Name, Pinned, Store, StoreError, disk,
    hub::{Event, Hub, HubError, Listing, Tell, Why},
    locks::Lock,
    manifest::total,
    quota::{Candidate, give_way},
};

/// The folder in which a model is put together.
const WHOLE: &str = "whole";

/// What is to be there in the end.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Under which name.
    pub name: Name,
    /// What the repository has.
    pub listing: Listing,
    /// What of it is wanted.
    pub files: Vec<Pinned>,
    /// The same in the words of who asks.
    pub wanted: Vec<String>,
    /// Bytes that pulled models may take; 0 for no limit.
    pub quota: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What is pinned now.
    pub manifest: Manifest,
    /// Files that were fetched.
    pub fetched: usize,
}

/// A pull that may go on: the locks are held and there is room.
struct Begun {
    lock: Lock,
    manifest: Manifest,
    /// Files that have to come.
    missing: Vec<Pinned>,
    /// Whether all is as it should be already.
    done: bool,
    gone: Vec<Candidate>,
}

impl Store {
    /// Pulls a model. What was fetched stays for the next try where this one fails or is dropped.
    pub async fn pull(&self, hub: &Hub, plan: Plan, tell: Tell<'_>) -> Result<Outcome, StoreError> {
        let (name, time) = (plan.name.clone(), hub.deadline());
        let late = |_| HubError { what: plan.listing.source.to_string(), why: Why::Deadline(time), tries: 1 };
        let pulled = tokio::time::timeout(time, self.pull_all(hub, &plan, tell)).await.map_err(late)?;
        match pulled {
            Err(StoreError::Io { error, .. }) if is_full(&error) => {
                // Half a model would only keep the disk full.
                let _lock = self.lock()?;
                if !Lock::is_held(&self.pull_lock(name.as_ref())) {
                    self.drop_part(name.as_ref())?;
                }
                Err(StoreError::Full { name, error })
            }
            pulled => pulled,
        }
    }

    async fn pull_all(&self, hub: &Hub, plan: &Plan, tell: Tell<'_>) -> Result<Outcome, StoreError> {
        let endpoint = hub.endpoint().to_string();
        let (store, owned) = (self.clone(), plan.clone());
        let begun = blocking(move || store.begin(&owned, &endpoint)).await?;
        for gone in &begun.gone {
            tell(Event::GivesWay { name: &gone.name, bytes: gone.bytes });
        }
        let Begun { lock, manifest, missing, done, .. } = begun;
        let fetched = missing.len();
        if !done {
            tell(Event::Begins { files: missing.len(), bytes: total(missing.iter().map(|file| file.bytes)) });
            hub.fetch(&plan.listing, &missing, &self.part(plan.name.as_ref()), tell).await?;
            let (store, name, manifest) = (self.clone(), plan.name.clone(), manifest.clone());
            // It goes on where this is dropped, and until then nobody else begins.
            let finish = move || {
                let _lock = lock;
                store.finish(&name, &manifest)
            };
            for path in blocking(finish).await? {
                tell(Event::LeftOut(&path));
            }
        }
        Ok(Outcome { manifest, fetched })
    }

    fn begin(&self, plan: &Plan, endpoint: &str) -> Result<Begun, StoreError> {
        let name = &plan.name;
        fs::create_dir_all(self.root()).map_err(StoreError::io(self.root()))?;
        let lock = Lock::alone(&self.pull_lock(name.as_ref()))?;
        let lock = lock.ok_or_else(|| StoreError::Pulling { name: name.clone() })?;
        let folder = self.folder(name);
        let there = folder.symlink_metadata().is_ok();
        if there && !self.is_pulled(name) {
            return Err(StoreError::Taken { name: name.clone() });
        }
        // One that is damaged is replaced as if it had nothing.
        let before = if there { Manifest::read(&folder).ok().flatten() } else { None };
        let manifest = plan.manifest(before.as_ref(), endpoint)?;
        let mut digits = BTreeSet::new();
        let mut missing: Vec<_> = manifest.files.iter().filter(|file| file.check(&folder).is_err()).cloned().collect();
        missing.retain(|file| digits.insert(file.hash.digits().to_owned()));
        let same = |before: &Manifest| before.commit == manifest.commit && before.files == manifest.files;
        let done = missing.is_empty() && before.as_ref().is_some_and(same);
        if done && before.as_ref() != Some(&manifest) {
            // It is known by other words now.
            manifest.write(&folder).map_err(StoreError::io(&folder))?;
        }
        let gone = if done { Vec::new() } else { self.make_room(plan, &manifest, &missing)? };
        Ok(Begun { lock, manifest, missing, done, gone })
    }

    /// Has others give way, checks that there is room, and notes what is to come.
    fn make_room(&self, plan: &Plan, manifest: &Manifest, missing: &[Pinned]) -> Result<Vec<Candidate>, StoreError> {
        let (name, _lock) = (plan.name.as_ref(), self.lock()?);
        let part = self.part(name);
        let parts: Vec<_> = self.unfinished().into_iter().filter(|other| other.name != name).collect();
        let models = self.list()?.into_iter().filter(|held| held.manifest.is_some() && held.name != name);
        let models = models.map(|held| Candidate {
            last_used: held.last_used.unwrap_or(std::time::UNIX_EPOCH),
            in_use: held.in_use,
            unfinished: false,
            bytes: held.bytes,
            name: held.name,
        });
        let others = parts.iter().map(|part| Candidate {
            name: part.name.clone(),
            unfinished: true,
            bytes: if part.active { part.planned } else { part.bytes },
            last_used: std::time::UNIX_EPOCH,
            in_use: part.active,
        });
        let quota = if plan.quota == 0 { u64::MAX } else { plan.quota };
        let gone = give_way(quota, manifest.bytes(), models.chain(others).collect())?;

        let here = |file: &Pinned| part.join(file.hash.digits()).metadata().map_or(0, |metadata| metadata.len());
        let own = missing.iter().map(|file| file.bytes.saturating_sub(here(file)));
        let active = parts.iter().filter(|part| part.active);
        let needed = total(own.chain(active.map(|part| part.planned.saturating_sub(part.bytes))));
        let freed = total(gone.iter().map(|candidate| candidate.bytes));
        let free = disk::free(self.root()).map_err(StoreError::io(self.root()))?.saturating_add(freed);
        if needed > free {
            return Err(StoreError::DiskFull { folder: self.root().display().to_string(), free, needed });
        }
        for candidate in &gone {
            if candidate.unfinished { self.drop_part(&candidate.name)? } else { self.take_away(&candidate.name)? }
        }
        prepare(&part, manifest, missing).map_err(StoreError::io(&part))?;
        Ok(gone)
    }

    /// Puts the model together, and in its place. Returns what was there besides and was not taken along.
    fn finish(&self, name: &Name, manifest: &Manifest) -> Result<Vec<PathBuf>, StoreError> {
        let (folder, part) = (self.folder(name), self.part(name.as_ref()));
        let whole = part.join(WHOLE);
        let besides = Besides::of(&folder, manifest).map_err(StoreError::io(&folder))?;
        put_together(&folder, &part, &whole, manifest).map_err(StoreError::io(&whole))?;
        take_along(&folder, &whole, &besides.stay).map_err(StoreError::io(&whole))?;
        self.put(name, &whole)?;
        self.drop_part(name.as_ref())?;
        Ok(besides.go)
    }
}

impl Plan {
    /// What is to be pinned: what is wanted, and what is there of the same commit.
    fn manifest(&self, before: Option<&Manifest>, endpoint: &str) -> Result<Manifest, StoreError> {
        let Listing { source, commit, .. } = &self.listing;
        let (mut files, mut wanted) = (self.files.clone(), self.wanted.clone());
        if let Some(before) = before {
            if before.repo != source.repo {
                return Err(StoreError::OtherRepo { name: self.name.clone(), repo: before.repo.clone() });
            }
            if before.commit == *commit {
                files.extend(before.files.iter().cloned());
                wanted.extend(before.wanted.iter().cloned());
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        wanted.sort();
        wanted.dedup();
        let mut manifest = Manifest::new(source, commit.clone(), endpoint);
        (manifest.files, manifest.wanted) = (files, wanted);
        Ok(manifest)
    }
}

/// Makes the folder of a download, with what is of use of an earlier one.
fn prepare(part: &Path, manifest: &Manifest, missing: &[Pinned]) -> io::Result<()> {
    if part.is_symlink() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link; remove it"));
    }
    fs::create_dir_all(part)?;
    for entry in fs::read_dir(part)? {
        let entry = entry?;
        let name = entry.file_name();
        let of_use = |name: &str| missing.iter().any(|file| name.split('.').next() == Some(file.hash.digits()));
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_type()?.is_symlink() || !name.to_str().is_some_and(of_use) {
            fs::remove_file(entry.path())?;
        }
    }
    manifest.write(part)
}

/// Makes one folder of what was fetched and of what was there.
fn put_together(before: &Path, part: &Path, whole: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut folders = BTreeSet::from([whole.to_owned()]);
    for file in &manifest.files {
        let (to, fetched) = (whole.join(file.path.as_ref()), part.join(file.hash.digits()));
        let from = if fetched.is_file() { fetched } else { before.join(file.path.as_ref()) };
        let folder = to.parent().unwrap_or(whole);
        fs::create_dir_all(folder)?;
        folders.insert(folder.to_owned());
        link(&from, &to)?;
    }
    fs::create_dir_all(whole)?;
    manifest.write(whole)?;
    folders.iter().try_for_each(|folder| disk::sync_folder(folder))
}

/// What a model's folder has and no manifest: it was made of what was pulled, as graphs in other precisions are.
#[derive(Default)]
struct Besides {
    /// What is still true of the model.
    stay: Vec<PathBuf>,
    /// What is not, or is no file.
    go: Vec<PathBuf>,
}

impl Besides {
    /// Of a folder that is replaced by that of a manifest.
    fn of(folder: &Path, manifest: &Manifest) -> io::Result<Self> {
        let before = Manifest::read(folder).ok().flatten();
        let same = before.as_ref().is_some_and(|before| before.commit == manifest.commit);
        let pinned = |manifest: &Manifest, path: &Path| {
            let mut paths = manifest.files.iter().map(|file| Path::new(file.path.as_ref()));
            // Nor what has a file where the model has a folder, or the other way round.
            paths.any(|pinned| pinned.starts_with(path) || path.starts_with(pinned))
        };
        let mut besides = Self::default();
        for (path, is_file) in disk::files(folder)? {
            let known = pinned(manifest, &path) || before.as_ref().is_some_and(|before| pinned(before, &path));
            if path == Path::new(MANIFEST) || known {
                continue;
            }
            if same && is_file { besides.stay.push(path) } else { besides.go.push(path) }
        }
        Ok(besides)
    }
}

/// Has files of one folder in another one as well.
fn take_along(from: &Path, to: &Path, files: &[PathBuf]) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for file in files {
        let (from, to) = (from.join(file), to.join(file));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
            folders.insert(folder.to_owned());
        }
        link(&from, &to)?;
    }
    folders.iter().try_for_each(|folder| disk::sync_folder(folder))
}

/// The same file in two places, until one of them goes; a copy where the disk has no such thing.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| {
        fs::copy(from, to)?;
        fs::File::open(to)?.sync_all()
    })
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Io { what: "a thread".into(), error: io::Error::other(error) })?
}
