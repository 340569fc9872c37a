//! Connections: those of a listener, no more at a time than there may be, and each with a first word in time.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// How long a connection may be silent at first.
const FIRST_WORD: Duration = Duration::from_secs(30);
/// After a failure of the system's, such as that there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is logged that there is no room.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Soft limit on open files that is wanted: more than all connections, browsers and files take.
#[cfg(unix)]
const OPEN_FILES: u64 = 65_536;

/// Takes the connections of one listener.
pub struct Connections {
    listener: TcpListener,
    address: SocketAddr,
    most: usize,
    free: Arc<Semaphore>,
    /// Time in which who has connected says something.
    patience: Duration,
    logged: Option<Instant>,
}

impl Connections {
    /// Of a listener, at most so many at a time.
    pub fn new(listener: TcpListener, most: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { listener, address, most, free: Arc::new(Semaphore::new(most)), patience: FIRST_WORD, logged: None })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next one. While there are as many as there may be, it waits in the system's queue.
    pub async fn accept(&mut self) -> Connection {
        if self.free.available_permits() == 0 {
            let most = self.most;
            self.warn(&format!("{most} connections are open, and further ones wait; see --max-connections"));
        }
        loop {
            // The semaphore is never closed.
            let permit = self.free.clone().acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY");
                    }
                    let silence = Some(Box::pin(sleep(self.patience)));
                    return Connection { stream, peer, silence, _permit: permit };
                }
                // Who has connected has left already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.warn(&format!("no connection can be taken: {error}"));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn warn(&mut self, message: &str) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!(listener = %self.address, "{message}");
        }
    }
}

/// A connection. Reading from one whose peer says nothing at first fails after a while.
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    /// Ends when the first word is overdue; none once that was heard.
    silence: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Who has connected.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.silence = None;
            return Poll::Ready(read);
        }
        let Some(silence) = &mut self.silence else { return Poll::Pending };
        ready!(silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How many connections each listener may have: as many as wanted, or a quarter of the files that the process may have
/// open, so that browsers and models are not left without. The soft limit is raised first, as far as the hard one lets it.
pub fn most(wanted: usize) -> usize {
    let Some(files) = open_files() else { return wanted };
    let most = usize::try_from(files / 4).unwrap_or(usize::MAX).clamp(1, wanted);
    if most < wanted {
        tracing::warn!(
            "each listener takes {most} connections and not {wanted}: see --max-connections and `ulimit -n`"
        );
    }
    most
}

/// Files that the process may have open; none where that is not known.
fn open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use nix::sys::resource::{Resource::RLIMIT_NOFILE, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(RLIMIT_NOFILE).ok()?;
        let more = OPEN_FILES.min(hard);
        let raised = soft < more && setrlimit(RLIMIT_NOFILE, more, hard).is_ok();
        Some(if raised { more } else { soft })
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::Connections;

    const SHORT: Duration = Duration::from_millis(50);

    async fn connections(most: usize) -> Connections {
        Connections::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), most).unwrap()
    }

    #[tokio::test]
    async fn one_more_than_there_may_be_waits_until_another_ends() {
        let mut connections = connections(2).await;
        let address = connections.address();
        let _callers = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
        let (first, _second) = (connections.accept().await, connections.accept().await);
        assert!(timeout(SHORT, connections.accept()).await.is_err());
        drop(first);
        connections.accept().await;
    }

    #[tokio::test]
    async fn who_says_nothing_is_left_and_who_has_spoken_may_be_silent() {
        let mut connections = connections(2).await;
        connections.patience = SHORT;
        let _mute = TcpStream::connect(connections.address()).await.unwrap();
        let mut connection = connections.accept().await;
        assert_eq!(connection.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);

        let mut caller = TcpStream::connect(connections.address()).await.unwrap();
        let mut connection = connections.accept().await;
        caller.write_u8(7).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 7);
        assert!(timeout(4 * SHORT, connection.read_u8()).await.is_err());
        caller.write_u8(8).await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), 8);
    }
}
