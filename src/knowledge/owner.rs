//! Owner: the thread that has the database, and what becomes of it where something is wrong with the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::Error;
use tokio::sync::{mpsc, oneshot};

use super::{Cost, Place, VerdictRow, schema, schema::OpenError, store::Store};

/// What the thread is asked.
#[derive(Debug)]
pub enum Command {
    Reference { key: String, reply: oneshot::Sender<Option<Vec<u8>>> },
    KeepReference { key: String, answers: Vec<u8>, now: SystemTime },
    ForgetReferences { prefix: String },
    Costs { model: String, reply: oneshot::Sender<Vec<Cost>> },
    KeepCost(Cost),
    Verdicts { model: String, reply: oneshot::Sender<Vec<VerdictRow>> },
    KeepVerdict(VerdictRow),
    Flush { reply: oneshot::Sender<()> },
}

/// Serves until all handles are gone, and what they handed over is kept.
pub fn run(place: &Place, mut commands: mpsc::Receiver<Command>) {
    let store = match place {
        Place::Memory => Store::in_memory(),
        Place::File(path) => open(path),
    };
    let mut store = match store {
        Ok(store) => store,
        Err(error) => {
            tracing::warn!(%error, "nothing of what is measured is kept");
            return;
        }
    };
    while let Some(command) = commands.blocking_recv() {
        if let Err(error) = serve(&store, command)
            && let Some(instead) = mend(&store, place, &error)
        {
            store = instead;
        }
    }
}

/// What is asked is answered, or else the answer's sender dropped, which is nothing known.
fn serve(store: &Store, command: Command) -> Result<(), Error> {
    match command {
        Command::Reference { key, reply } => drop(reply.send(store.reference(&key)?)),
        Command::KeepReference { key, answers, now } => store.keep_reference(&key, &answers, now)?,
        Command::ForgetReferences { prefix } => store.forget_references(&prefix)?,
        Command::Costs { model, reply } => drop(reply.send(store.costs(&model)?)),
        Command::KeepCost(cost) => store.keep_cost(&cost)?,
        Command::Verdicts { model, reply } => drop(reply.send(store.verdicts(&model)?)),
        Command::KeepVerdict(row) => store.keep_verdict(&row)?,
        Command::Flush { reply } => drop(reply.send(())),
    }
    Ok(())
}

/// What to go on with after an error: what is known, in memory, where the file can be used no more. A copy of damaged pages
/// would be as damaged, so that nothing is known then.
fn mend(store: &Store, place: &Place, error: &Error) -> Option<Store> {
    let Place::File(path) = place else {
        tracing::debug!(%error, "what was measured is not kept");
        return None;
    };
    // Another service has it for longer than is waited. That passes.
    if store.is_in_memory() || schema::is_busy(error) {
        tracing::debug!(%error, "what was measured is not kept");
        return None;
    }
    warn(path, error);
    let copy = if schema::is_corrupt(error) { Store::in_memory() } else { Store::in_memory_as(store) };
    copy.or_else(|_| Store::in_memory()).ok()
}

/// The file's; or one in memory.
fn open(path: &Path) -> Result<Store, Error> {
    let opened = make_folder(path).map_err(OpenError::Folder).and_then(|()| Store::in_file(path));
    let error = match opened {
        Ok(store) => return Ok(store),
        Err(error) => error,
    };
    if error.is_damage() {
        match move_aside(path) {
            Ok(aside) => {
                tracing::warn!(
                    file = %path.display(), aside = %aside.display(), %error,
                    "the file of what was measured is damaged; it was moved aside, and measuring begins anew"
                );
                match Store::in_file(path) {
                    Ok(store) => return Ok(store),
                    Err(error) => warn(path, &error),
                }
            }
            Err(cannot) => warn(path, &format!("{error}; nor can it be moved aside: {cannot}")),
        }
    } else {
        warn(path, &error);
    }
    Store::in_memory()
}

fn warn(path: &Path, error: &impl std::fmt::Display) {
    tracing::warn!(
        file = %path.display(), %error,
        "what is measured is forgotten at the end of the service; see --state"
    );
}

fn make_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Moves a file out of the way, in place of one that was moved before. What SQLite keeps beside it goes along: it would be
/// taken for that of the next one.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = beside(".damaged");
    fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        match fs::remove_file(beside(end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
