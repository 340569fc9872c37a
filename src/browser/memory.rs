//! Memory of a browser's process tree, and the state of its sandbox, as the system tells them.

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

/// Memory of the machine, or of the control group if that has less. `None` where it cannot be read. Blocks on the file
/// system.
#[cfg(target_os = "linux")]
pub fn machine_memory() -> Option<u64> {
    use procfs::Current;
    let machine = procfs::Meminfo::current().ok()?.mem_total;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = group.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
    Some(machine.min(limit))
}

/// Memory that is free on the machine, or in the control group if that has less. `None` where it cannot be read. Blocks
/// on the file system.
#[cfg(target_os = "linux")]
pub fn free_memory() -> Option<u64> {
    use procfs::Current;
    let info = procfs::Meminfo::current().ok()?;
    let machine = info.mem_available.unwrap_or(info.mem_free);
    let read = |file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let group = read("/sys/fs/cgroup/memory.max").zip(read("/sys/fs/cgroup/memory.current"));
    Some(group.map_or(machine, |(limit, used)| machine.min(limit.saturating_sub(used))))
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
