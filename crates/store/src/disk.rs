//! Disk: what is written to its end, how much there is of it, and how much a folder takes.

use std::{fs, path::Path};
#[cfg(feature = "hub")]
use std::{
    io::{self, Write},
    path::PathBuf,
};

/// Most entries of a folder that are counted.
const MOST_ENTRIES: usize = 100_000;

/// Writes a file so that it is whole or not there, whatever happens to the machine.
#[cfg(feature = "hub")]
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&part, path)
}

/// Has the names of a folder's entries outlive the machine's power.
#[cfg(feature = "hub")]
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(path)?.sync_all() } else { Ok(()) }
}

/// Bytes that can still be written where a folder is.
#[cfg(feature = "hub")]
#[allow(clippy::useless_conversion, reason = "on other systems they are narrower")]
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    let system = nix::sys::statvfs::statvfs(path)?;
    Ok(u64::from(system.blocks_available()) * u64::from(system.fragment_size()))
}

/// Bytes of all files below a folder, as far as they can be read; links are not followed.
pub fn size(folder: &Path) -> u64 {
    let (mut folders, mut bytes, mut left) = (vec![folder.to_owned()], 0, MOST_ENTRIES);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let Some(one_less) = left.checked_sub(1) else { return bytes };
            left = one_less;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes += metadata.len(),
                _ => {}
            }
        }
    }
    bytes
}

/// What is below a folder and is no folder: where it is below it, and whether it is a file; a link is none. In the order of
/// their paths.
#[cfg(feature = "hub")]
pub(crate) fn files(folder: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let (mut folders, mut files) = (vec![PathBuf::new()], Vec::new());
    while let Some(inner) = folders.pop() {
        let entries = match fs::read_dir(folder.join(&inner)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, inner.join(entry.file_name()));
            if kind.is_dir() { folders.push(path) } else { files.push((path, kind.is_file())) }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether something is a folder itself, and not a link to one.
pub(crate) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}
