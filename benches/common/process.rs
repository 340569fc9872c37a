//! Process: what a running process takes of the machine.

use super::Result;

/// User and system time that a process has taken, in seconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = procfs::process::Process::new(pid.cast_signed())?.stat()?;
    Ok((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

/// Resident memory in MiB: all of it, and its parts: anonymous, and of files.
pub fn resident_mib(pid: u32) -> Result<[f64; 3]> {
    let status = procfs::process::Process::new(pid.cast_signed())?.status()?;
    let mib = |kib: Option<u64>| kib.map_or(0.0, |kib| kib as f64 / 1024.0);
    Ok([mib(status.vmrss), mib(status.rssanon), mib(status.rssfile)])
}
