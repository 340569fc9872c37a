//! Incoming: messages of which only a part is there yet. tonic keeps what has come of one until the rest is there, and a
//! caller may have thousands of them; so their bytes are counted, over all calls, and what is too much is refused.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::{Status, body::Body};

use super::status::to_status;
use crate::error::Error;

/// When who was refused should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Bytes before each message: a flag, and the length (gRPC over HTTP/2, "Length-Prefixed-Message").
const HEAD: usize = 5;

/// What may come in.
#[derive(Clone)]
pub struct Incoming {
    most: usize,
    room: Arc<Semaphore>,
    stall: Duration,
}

impl Incoming {
    /// At most so many bytes of messages that are not all there, each of which goes on within `stall`.
    pub fn new(most: usize, stall: Duration) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self { most, room: Arc::new(Semaphore::new(most)), stall }
    }

    /// Counts what comes of a request.
    pub fn count(&self, request: Request<Body>) -> Request<Body> {
        let counted = |body| {
            Body::new(Counted { body, incoming: self.clone(), part: Part::default(), held: None, silence: None })
        };
        request.map(counted)
    }
}

/// A body whose messages are counted.
struct Counted {
    body: Body,
    incoming: Incoming,
    part: Part,
    held: Option<OwnedSemaphorePermit>,
    /// Ends when the rest of a message is overdue; there while it is waited for.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Counted {
    /// Holds room for as many bytes as there are of a message that is not all there.
    fn hold(&mut self) -> Result<(), Status> {
        let bytes = self.part.bytes;
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes < held {
            // Another message has begun.
            self.held = None;
            return if bytes > 0 { self.hold() } else { Ok(()) };
        }
        let more = u32::try_from(bytes - held).unwrap_or(u32::MAX);
        let Ok(more) = self.incoming.room.clone().try_acquire_many_owned(more) else {
            // So that one who is refused makes room for the others at once.
            self.held = None;
            let what = format!("{} bytes of messages that are not all there yet", self.incoming.most);
            return Err(to_status(&Error::Overloaded { what, retry_after: RETRY_AFTER }));
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if !this.part.is_begun() {
                return Poll::Pending;
            }
            let stall = this.incoming.stall;
            ready!(this.silence.get_or_insert_with(|| Box::pin(sleep(stall))).as_mut().poll(context));
            let late = Error::invalid("message", format!("the rest of it did not come within {stall:?}"));
            return Poll::Ready(Some(Err(to_status(&late))));
        };
        this.silence = None;
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            this.part.add(bytes);
            if let Err(status) = this.hold() {
                return Poll::Ready(Some(Err(status)));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The message that is being sent.
#[derive(Debug, Default)]
struct Part {
    head: [u8; HEAD],
    /// Bytes of the head that are there, while it is not all there.
    of_head: usize,
    /// Bytes that lack.
    lacks: usize,
    /// Bytes that are there, without the head.
    bytes: usize,
}

impl Part {
    fn is_begun(&self) -> bool {
        self.of_head > 0 || self.lacks > 0
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.lacks == 0 {
                let (these, rest) = bytes.split_at(bytes.len().min(HEAD - self.of_head));
                self.head[self.of_head..][..these.len()].copy_from_slice(these);
                (self.of_head, bytes) = (self.of_head + these.len(), rest);
                if self.of_head == HEAD {
                    let [_, length @ ..] = self.head;
                    (self.of_head, self.lacks) = (0, u32::from_be_bytes(length) as usize);
                }
            } else {
                let these = bytes.len().min(self.lacks);
                (self.lacks, self.bytes, bytes) = (self.lacks - these, self.bytes + these, &bytes[these..]);
            }
            if self.lacks == 0 {
                self.bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::Request;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::{Status, body::Body};

    use super::{HEAD, Incoming, Part};

    const SHORT: Duration = Duration::from_millis(50);

    proptest! {
        #[test]
        fn what_is_there_of_a_message_is_told_however_it_is_cut(
            lengths in prop::collection::vec(0..40usize, 1..8),
            cuts in prop::collection::vec(1..30usize, 1..20),
        ) {
            let message = |length: &usize| [&[0, 0, 0, 0, u8::try_from(*length).unwrap()][..], &vec![7; *length]].concat();
            let all: Vec<u8> = lengths.iter().flat_map(message).collect();
            let (mut part, mut came) = (Part::default(), 0);
            for cut in cuts.into_iter().cycle() {
                let next = all.len().min(came + cut);
                part.add(&all[came..next]);
                came = next;
                let mut begin = 0;
                let mut at = lengths.iter().map(|length| { let from = begin; begin += HEAD + length; (from, begin) });
                let under_way = at.find(|&(from, to)| from < came && came < to);
                prop_assert_eq!(part.is_begun(), under_way.is_some());
                prop_assert_eq!(part.bytes, under_way.map_or(0, |(from, _)| came.saturating_sub(from + HEAD)));
                if came == all.len() {
                    break;
                }
            }
        }
    }

    /// A body that is counted, and what sends it.
    fn body(incoming: &Incoming) -> (mpsc::Sender<Result<Frame<Bytes>, Status>>, Body) {
        let (sender, frames) = mpsc::channel(4);
        let body = Body::new(StreamBody::new(ReceiverStream::new(frames)));
        (sender, incoming.count(Request::new(body)).into_body())
    }

    fn data(bytes: &[u8]) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(Bytes::copy_from_slice(bytes)))
    }

    #[tokio::test]
    async fn parts_are_refused_where_there_is_no_room_and_give_it_back() {
        let incoming = Incoming::new(10, Duration::from_secs(60));
        let ((first, mut one), (second, mut two)) = (body(&incoming), body(&incoming));
        first.send(data(&[0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6])).await.unwrap();
        one.frame().await.unwrap().unwrap();
        second.send(data(&[0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6])).await.unwrap();
        let refused = two.frame().await.unwrap().unwrap_err();
        assert!(refused.message().contains("10 bytes"), "{refused}");
        // The rest of the one is no part any more, and the next is another message.
        first.send(data(&[7, 8, 0, 0, 0, 0, 9, 1])).await.unwrap();
        one.frame().await.unwrap().unwrap();
        assert_eq!(incoming.room.available_permits(), 9);
        drop((one, two));
        assert_eq!(incoming.room.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_part_that_does_not_go_on_is_given_up_and_silence_between_messages_is_not() {
        let incoming = Incoming::new(10, SHORT);
        let (sender, mut body) = body(&incoming);
        sender.send(data(&[0, 0, 0, 0, 1, 7])).await.unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(tokio::time::timeout(4 * SHORT, body.frame()).await.is_err());
        sender.send(data(&[0, 0])).await.unwrap();
        body.frame().await.unwrap().unwrap();
        assert!(body.frame().await.unwrap().is_err());
    }
}
