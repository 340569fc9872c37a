//! Fetch: one file, from where the last try ended to its end; and then its hash.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::{StatusCode, header};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::{
    Event, Hub, Listing, Tell, Why,
    http::{Answer, From},
    tries::Tries,
};
use crate::{Pinned, StoreError, hash::Hasher};

/// Why one try ended.
enum Ended {
    /// The Hub did.
    Hub(Why),
    /// The disk did.
    Disk(io::Error),
}

/// A file on its way: what is there of it, and what it was when it began.
struct Part<'a> {
    file: &'a Pinned,
    path: PathBuf,
    tell: Tell<'a>,
}

impl Hub {
    /// Fetches files into a folder, each under the digits of its hash.
    pub(crate) async fn fetch<'a>(
        &'a self,
        listing: &'a Listing,
        files: &'a [Pinned],
        folder: &'a Path,
        tell: Tell<'a>,
    ) -> Result<(), StoreError> {
        let fetch = |file: &'a Pinned| async move {
            let url = self.settings.endpoint.file(listing, &file.path);
            self.file(&url, &Part { file, path: folder.join(file.hash.digits()), tell }).await
        };
        let all: Vec<_> = files.iter().map(fetch).collect();
        stream::iter(all).buffer_unordered(self.settings.at_once.max(1)).try_collect().await
    }

    async fn file(&self, url: &Url, part: &Part<'_>) -> Result<(), StoreError> {
        let what = part.file.path.as_ref();
        let mut tries = Tries::new(&self.settings.waits);
        (part.tell)(Event::Came(part.length()));
        loop {
            let why = match self.attempt(url, part).await {
                Ok(()) => {
                    (part.tell)(Event::Done(&part.file.path));
                    return Ok(());
                }
                Err(Ended::Disk(error)) => return Err(StoreError::io(&part.path)(error)),
                Err(Ended::Hub(why)) => why,
            };
            let pause = tries.failed(&why, part.length()).ok_or_else(|| tries.error(what, why.clone()))?;
            (part.tell)(Event::Again { what, why: &why, pause });
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, url: &Url, part: &Part<'_>) -> Result<(), Ended> {
        let must = part.file.bytes;
        if part.length() > must {
            part.forget()?;
        }
        let at = part.length();
        let mut hasher = part.hashed().await?;
        if at < must || must == 0 {
            let from = (at > 0).then(|| From { at, etag: part.etag() });
            let mut answer = self.http.get(url, from.as_ref()).await?;
            if from.is_some_and(|from| !goes_on(&answer, &from, must)) {
                // It has it from the beginning, or not this any more.
                part.forget()?;
                if answer.status != StatusCode::OK {
                    return Err(Ended::Hub(Why::Changed { host: answer.host }));
                }
                hasher = Hasher::new(&part.file.hash, must);
            }
            part.take(&mut answer, &mut hasher).await?;
        }
        if hasher.finish() == part.file.hash {
            return Ok(());
        }
        part.forget()?;
        Err(Ended::Hub(Why::Hash))
    }
}

/// Whether an answer begins where the part ends, and is of the same file.
fn goes_on(answer: &Answer, from: &From, must: u64) -> bool {
    let range = format!("bytes {}-{}/{must}", from.at, must - 1);
    let same = from.etag.as_deref().zip(answer.etag()).is_none_or(|(was, is)| was == is);
    answer.status == StatusCode::PARTIAL_CONTENT && same && answer.header(header::CONTENT_RANGE) == Some(&range)
}

impl Part<'_> {
    fn length(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    fn etag_file(&self) -> PathBuf {
        self.path.with_extension("etag")
    }

    fn etag(&self) -> Option<String> {
        fs::read_to_string(self.etag_file()).ok().filter(|etag| etag.starts_with('"') && etag.len() <= 256)
    }

    /// Begins anew.
    fn forget(&self) -> io::Result<()> {
        (self.tell)(Event::Lost(self.length()));
        for path in [self.etag_file(), self.path.clone()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// What is there goes into the hash.
    async fn hashed(&self) -> io::Result<Hasher> {
        let mut hasher = Hasher::new(&self.file.hash, self.file.bytes);
        if self.length() == 0 {
            return Ok(hasher);
        }
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || hasher.read(&path).map(|()| hasher));
        read.await.map_err(io::Error::other)?
    }

    /// Takes what comes, up to as many bytes as there must be.
    async fn take(&self, answer: &mut Answer, hasher: &mut Hasher) -> Result<(), Ended> {
        let (must, mut is) = (self.file.bytes, self.length());
        let wrong = |host: &str, is: u64| Ended::Hub(Why::Length { host: host.to_owned(), is, must });
        match (answer.status, answer.length()) {
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, Some(length)) if is.saturating_add(length) != must => {
                return Err(wrong(&answer.host, is.saturating_add(length)));
            }
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => {}
            _ => return Err(Ended::Hub(Why::Changed { host: answer.host.clone() })),
        }
        if let (0, Some(etag)) = (is, answer.etag()) {
            fs::write(self.etag_file(), etag)?;
        }
        let mut file = tokio::fs::File::options().create(true).append(true).open(&self.path).await?;
        let came = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) if is + bytes.len() as u64 > must => {
                    break Err(wrong(&answer.host, is + bytes.len() as u64));
                }
                Ok(Some(bytes)) => {
                    file.write_all(&bytes).await?;
                    hasher.update(&bytes);
                    is += bytes.len() as u64;
                    (self.tell)(Event::Came(bytes.len() as u64));
                }
                Ok(None) if is < must => {
                    break Err(Ended::Hub(Why::Cut { host: answer.host.clone(), error: "it ended early".into() }));
                }
                Ok(None) => break Ok(()),
                Err(why) => break Err(Ended::Hub(why)),
            }
        };
        // What came before a cut is where the next try begins.
        file.flush().await?;
        if came.is_ok() {
            file.sync_all().await?;
        }
        came
    }
}

impl std::convert::From<Why> for Ended {
    fn from(why: Why) -> Self {
        Self::Hub(why)
    }
}

impl std::convert::From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}
