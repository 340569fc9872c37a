//! Codec: prost with small buffers. tonic's own have 8 KiB from the start, for each direction of each call; of ten
//! thousand open streams that is most of the memory. They grow to what a message needs.

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// Bytes of a buffer at first.
const FIRST: usize = 256;
/// Encoded messages are passed on at this many bytes, as tonic does it.
const YIELD: usize = 32 * 1024;

/// The codec of all services; `build.rs` names it.
#[derive(Clone, Copy, Debug)]
pub struct SmallBuffers<T, U>(std::marker::PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(FIRST, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(FIRST, YIELD))
    }
}
