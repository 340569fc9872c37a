//! Warm: what a browser has compiled of the page, kept from one browser to the next and from one start to the next.
//!
//! A browser's profile ends with it, and with it the code that it made of the runtime, which is the largest part of a load
//! of a small model. So the caches of a browser that no client's input has reached are kept, and each browser of the same
//! program starts with a copy of them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The caches, below the profile: what was read of the page, the code that was made of that, and what the GPU's kernels became.
const CACHES: [&str; 3] = ["Default/Cache", "Default/Code Cache", KERNELS];
/// What the GPU's kernels became.
const KERNELS: &str = "Default/DawnWebGPUCache";
/// The code that was made of the runtime.
const CODE: &str = "Default/Code Cache/wasm";
/// How the files in it that have code end; the others are its index, which is there from the start.
const ENTRY: &str = "_0";
/// The file that says for which page caches are kept, and on which port it was.
const PAGE: &str = "page";
/// Most bytes of the caches of a program.
const MOST_BYTES: u64 = 512 * 1024 * 1024;

/// The port on which the page was, where caches are kept for this page. What is kept for another one is removed.
pub fn port(folder: &Path, page: &str) -> Option<u16> {
    let text = fs::read_to_string(folder.join(PAGE)).ok()?;
    let (port, known) = text.split_once(' ')?;
    if known == page {
        return port.parse().ok();
    }
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::debug!(folder = %folder.display(), %error, "cannot be removed");
    }
    None
}

/// Whether what browsers compile of this page on this port is to be kept from now on, where `known` had been noted. It is not
/// where another service that runs has the port that is known.
pub fn keeps(folder: &Path, page: &str, known: Option<u16>, port: u16) -> bool {
    if let Some(known) = known {
        return known == port;
    }
    let noted = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(PAGE), format!("{port} {page}")));
    if let Err(error) = &noted {
        tracing::warn!(folder = %folder.display(), %error, "what browsers compile is not kept");
    }
    noted.is_ok()
}

/// The caches of a running browser.
#[derive(Clone, Debug)]
pub struct Caches {
    profile: PathBuf,
    /// Where those of its program are kept.
    kept: PathBuf,
}

impl Caches {
    /// Those of a browser that is about to start with an empty profile; it gets a copy of those that are kept.
    pub fn lay(folder: &Path, program: &Path, profile: &Path) -> Self {
        let name = program.display().to_string().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let (profile, kept) = (profile.to_owned(), folder.join(name));
        for cache in CACHES {
            // Without it the browser makes its own.
            if let Err(error) = copy(&kept.join(cache), &profile.join(cache)) {
                tracing::debug!(cache, %error, "not laid out");
            }
        }
        Self { profile, kept }
    }

    /// Whether caches are kept that have what `mark` stands for.
    pub fn has(&self, mark: &str) -> bool {
        self.kept.join("has").join(mark).exists()
    }

    /// Bytes of the code that the browser has made of the runtime and put into its caches. Blocks on the file system.
    pub fn code(&self) -> u64 {
        self.bytes(CODE, ENTRY)
    }

    /// The same of the GPU's kernels.
    pub fn kernels(&self) -> u64 {
        self.bytes(KERNELS, "")
    }

    /// Bytes of the files of a cache whose names end so.
    fn bytes(&self, cache: &str, end: &str) -> u64 {
        let entries = fs::read_dir(self.profile.join(cache)).into_iter().flatten().flatten();
        let some = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.ends_with(end)));
        some.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    /// Keeps the browser's caches, which have what `mark` stands for. Blocks on the file system.
    pub fn keep(&self, mark: &str) -> io::Result<()> {
        let new = self.kept.with_extension("new");
        // Of a service that was killed meanwhile.
        let _ = fs::remove_dir_all(&new);
        for cache in CACHES {
            copy(&self.profile.join(cache), &new.join(cache))?;
        }
        let marks = new.join("has");
        copy(&self.kept.join("has"), &marks)?;
        fs::create_dir_all(&marks)?;
        fs::write(marks.join(mark), "")?;
        // A browser that starts just now finds a part, which does no harm.
        let _ = fs::remove_dir_all(&self.kept);
        fs::rename(new, &self.kept)
    }
}

/// Copies the plain files of a folder, if it is there. What another user has put there may be links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut left = MOST_BYTES;
    copy_some(from, to, &mut left)
}

fn copy_some(from: &Path, to: &Path, left: &mut u64) -> io::Result<()> {
    if !fs::symlink_metadata(from).is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_some(&entry.path(), &to, left)?;
        } else if kind.is_file() {
            let copied = io::copy(&mut open(&entry.path())?.take(*left + 1), &mut fs::File::create(to)?)?;
            *left = left.checked_sub(copied).ok_or(io::ErrorKind::FileTooLarge)?;
        }
    }
    Ok(())
}

/// Opens a file that is none if it has become a link.
fn open(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{CODE, Caches, keeps, port};

    fn write(folder: &Path, name: &str, text: &str) {
        let file = folder.join(CODE).join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn what_one_browser_made_the_next_one_of_its_program_has() {
        let all = tempfile::tempdir().unwrap();
        let (folder, profile) = (all.path().join("warm"), |number: &str| all.path().join(number));
        assert!(keeps(&folder, "page", None, 4321));
        let first = Caches::lay(&folder, Path::new("/usr/bin/one"), &profile("1"));
        assert!(!first.has("wasm") && first.code() == 0);
        write(&profile("1"), "index", "no code");
        assert_eq!(first.code(), 0);
        write(&profile("1"), "0123456789abcdef_0", "12345");
        fs::write(profile("1").join("Default/Cookies"), "not kept").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", profile("1").join(CODE).join("link")).unwrap();
        first.keep("wasm").unwrap();
        let second = Caches::lay(&folder, Path::new("/usr/bin/one"), &profile("2"));
        assert!(second.has("wasm") && !second.has("webgpu"));
        assert_eq!(second.code(), 5);
        assert!(!profile("2").join("Default/Cookies").exists() && !profile("2").join(CODE).join("link").exists());
        // It has all that was kept before, too.
        second.keep("webgpu").unwrap();
        assert!(second.has("wasm") && second.has("webgpu"));
        let other = Caches::lay(&folder, Path::new("/usr/bin/other"), &profile("3"));
        assert!(!other.has("wasm") && other.code() == 0);
        // Nothing half-made stays.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn what_was_kept_for_another_page_goes() {
        let all = tempfile::tempdir().unwrap();
        let folder = all.path().join("warm");
        assert_eq!(port(&folder, "page"), None);
        assert!(keeps(&folder, "page", None, 4321));
        assert_eq!(port(&folder, "page"), Some(4321));
        assert!(keeps(&folder, "page", Some(4321), 4321) && !keeps(&folder, "page", Some(4321), 4322));
        assert_eq!(port(&folder, "another"), None);
        assert!(!folder.exists());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("page"), "nonsense").unwrap();
        assert_eq!(port(&folder, "page"), None);
    }
}
