//! Vitals: whether a process of a browser is stopped. One that is stopped answers nobody, and never says why.

#[cfg(target_os = "linux")]
pub use linux::stopped;

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub fn stopped(_root: u32) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        sync::{Arc, Mutex, PoisonError},
        time::{Duration, Instant},
    };

    use crate::browser::memory;

    /// Browsers that look at about the same time share one look at the processes.
    const FRESH: Duration = Duration::from_millis(200);

    struct Process {
        pid: i32,
        parent: i32,
        state: char,
        name: String,
    }

    type Processes = Arc<Vec<Process>>;

    /// The first process below `root`, or itself, that is stopped. Blocks on the file system.
    pub fn stopped(root: u32) -> Option<String> {
        let all = processes();
        let family = memory::family(root, || all.iter().map(|process| (process.pid, process.parent)));
        let stopped = all.iter().find(|process| process.state == 'T' && family.contains(&process.pid))?;
        Some(format!("its process {} ({}) is stopped", stopped.pid, stopped.name))
    }

    fn processes() -> Processes {
        static LAST: Mutex<Option<(Instant, Processes)>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, processes)) = &*last
            && when.elapsed() < FRESH
        {
            return processes.clone();
        }
        let all = procfs::process::all_processes().into_iter().flatten();
        let stats = all.filter_map(|process| process.ok()?.stat().ok());
        let processes =
            stats.map(|stat| Process { pid: stat.pid, parent: stat.ppid, state: stat.state, name: stat.comm });
        let processes = Arc::new(processes.collect());
        *last = Some((Instant::now(), Arc::clone(&processes)));
        processes
    }
}
