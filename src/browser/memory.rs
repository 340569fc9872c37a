//! Memory of a browser's process tree, and the state of its sandbox, as the system tells them.

#[cfg(target_os = "linux")]
use std::path::Path;

/// Memory of a process tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes; 0 where nothing can be read.
    pub bytes: u64,
    /// `pss`, which shares common pages among processes, or `rss`, which counts them in each.
    pub kind: &'static str,
}

/// Memory of the tree below a process. Blocks on the file system.
#[cfg(target_os = "linux")]
pub fn tree_memory(root: u32) -> Memory {
    let mut pss = Some(0);
    let mut rss = 0;
    for process in descendants(root) {
        let rollup = process.smaps_rollup().ok();
        let shared = rollup.and_then(|rollup| {
            rollup.memory_map_rollup.iter().next().and_then(|map| map.extension.map.get("Pss").copied())
        });
        pss = pss.zip(shared).map(|(sum, bytes)| sum + bytes);
        rss += process.stat().map_or(0, |stat| stat.rss * procfs::page_size());
    }
    // Sandboxed processes hide their maps from a service that is not root; their resident size is open to all.
    match pss {
        Some(bytes) => Memory { bytes, kind: "pss" },
        None => Memory { bytes: rss, kind: "rss" },
    }
}

/// Whether the renderers below a process run under a system-call filter. Blocks on the file system.
#[cfg(target_os = "linux")]
pub fn is_sandboxed(root: u32) -> bool {
    const FILTER: u32 = 2;
    // The processes that run pages, as Chromium, Firefox and WebKit call them.
    const RENDERERS: [&str; 3] = ["type=renderer", "-isForBrowser", "WebKitWebProcess"];
    // Bubblewrap, which starts WebKit's, names them too.
    let is_renderer = |line: Vec<String>| {
        !line.first().is_some_and(|program| program.ends_with("bwrap"))
            && line.iter().any(|word| RENDERERS.iter().any(|name| word.contains(name)))
    };
    let mut renderers = descendants(root).filter(|process| process.cmdline().is_ok_and(is_renderer)).peekable();
    renderers.peek().is_some()
        && renderers.all(|process| process.status().is_ok_and(|status| status.seccomp == Some(FILTER)))
}

/// Memory of the machine, or of a control group that it runs in if that has less. `None` where it cannot be read. Blocks
/// on the file system.
#[cfg(target_os = "linux")]
pub fn machine_memory() -> Option<u64> {
    use procfs::Current;
    let machine = procfs::Meminfo::current().ok()?.mem_total;
    Some(groups().map(|group| group.limit).fold(machine, u64::min))
}

/// Memory that is free on the machine, or in a control group that it runs in if that has less. `None` where it cannot be
/// read. Blocks on the file system.
#[cfg(target_os = "linux")]
pub fn free_memory() -> Option<u64> {
    use procfs::Current;
    let info = procfs::Meminfo::current().ok()?;
    let machine = info.mem_available.unwrap_or(info.mem_free);
    Some(groups().map(|group| group.limit.saturating_sub(group.used)).fold(machine, u64::min))
}

/// A control group (version 2) with a limit of its memory.
#[cfg(target_os = "linux")]
struct Group {
    limit: u64,
    /// Without what is only kept of files, which gives way.
    used: u64,
}

/// The groups that this process is in, from the innermost to the outermost, as far as they have a limit.
#[cfg(target_os = "linux")]
fn groups() -> impl Iterator<Item = Group> {
    const ROOT: &str = "/sys/fs/cgroup";
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let folders: Vec<_> = Path::new(own).ancestors().map(|folder| Path::new(ROOT).join(folder)).collect();
    folders.into_iter().filter_map(|folder| group(&folder))
}

#[cfg(target_os = "linux")]
fn group(folder: &Path) -> Option<Group> {
    let text = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let number = |file: &str| text(file)?.trim().parse::<u64>().ok();
    let kept = text("memory.stat").unwrap_or_default();
    let kept = kept.lines().find_map(|line| line.strip_prefix("inactive_file ")?.parse().ok()).unwrap_or(0);
    Some(Group { limit: number("memory.max")?, used: number("memory.current")?.saturating_sub(kept) })
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub fn free_memory() -> Option<u64> {
    None
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub fn machine_memory() -> Option<u64> {
    None
}

/// A process and all below it, of processes and their parents.
#[cfg(target_os = "linux")]
pub(super) fn family<All: Iterator<Item = (i32, i32)>>(root: u32, all: impl Fn() -> All) -> Vec<i32> {
    let mut family = vec![root.cast_signed()];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(all().filter(|(_, of)| *of == parent).map(|(pid, _)| pid));
        next += 1;
    }
    family
}

#[cfg(target_os = "linux")]
fn descendants(root: u32) -> impl Iterator<Item = procfs::process::Process> {
    let mut all: Vec<_> = procfs::process::all_processes()
        .into_iter()
        .flatten()
        .filter_map(|process| {
            let process = process.ok()?;
            let parent = process.stat().ok()?.ppid;
            Some((process, parent))
        })
        .collect();
    let family = family(root, || all.iter().map(|(process, parent)| (process.pid, *parent)));
    all.retain(|(process, _)| family.contains(&process.pid));
    all.into_iter().map(|(process, _)| process)
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn tree_memory(_root: u32) -> Memory {
    Memory::default()
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn is_sandboxed(_root: u32) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

    use super::group;

    #[test]
    fn what_is_kept_of_files_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        assert!(group(folder.path()).is_none());
        write("memory.current", "700\n");
        write("memory.stat", "anon 500\nactive_file 50\ninactive_file 150\n");
        write("memory.max", "max\n");
        assert!(group(folder.path()).is_none(), "without a limit it is none");
        write("memory.max", "1000\n");
        let group = group(folder.path()).unwrap();
        assert_eq!((group.limit, group.used), (1000, 550));
    }
}
