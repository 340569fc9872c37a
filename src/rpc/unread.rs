//! Unread: what is left of a page's request when its call has been answered, such as of a message over the limit.
//!
//! A connection of HTTP/1.1 is closed where the rest of a body is not wanted, and browsers that are still sending then lose
//! the answer. So the rest is read first, up to a bound.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};
use tonic::{Status, body::Body};

/// Time for the rest.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of the rest.
const MOST: usize = 256 * 1024 * 1024;

/// Has what is left of a request's body read.
pub fn read_to_end(request: Request<Body>) -> Request<Body> {
    if request.version() == Version::HTTP_2 {
        return request;
    }
    request.map(|body| Body::new(ReadToEnd { body: Some(body) }))
}

/// A body that is read to its end also where it is dropped before.
struct ReadToEnd {
    /// None at its end.
    body: Option<Body>,
}

impl http_body::Body for ReadToEnd {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for ReadToEnd {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(timeout(DEADLINE, async move {
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await
                && read < MOST
            {
                read += frame.data_ref().map_or(0, Bytes::len);
            }
        }));
    }
}
