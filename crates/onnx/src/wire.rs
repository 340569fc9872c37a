//! Protobuf's wire format, field by field: what is of no interest is skipped by seeking, so that a file of gigabytes
//! costs a few reads and no memory.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use crate::error::ReadError;

/// What a field has.
pub enum Field {
    /// A number.
    Number(u64),
    /// Bytes, up to there. They are left to be read or skipped.
    Bytes(u64),
    /// A number of four bytes.
    Four([u8; 4]),
    /// A number of eight bytes.
    Eight([u8; 8]),
}

/// A place in a message.
pub struct Wire<R> {
    file: BufReader<R>,
    /// Where it is.
    pub at: u64,
}

impl<R: Read + Seek> Wire<R> {
    /// The beginning of a file, and its end.
    pub fn new(mut file: R) -> Result<(Self, u64), ReadError> {
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        Ok((Self { file: BufReader::with_capacity(4096, file), at: 0 }, end))
    }

    /// The next field before `end`: its number, and what it has.
    pub fn field(&mut self, end: u64) -> Result<Option<(u32, Field)>, ReadError> {
        if self.at == end {
            return Ok(None);
        }
        let begin = self.at;
        let key = self.varint(end)?;
        let number = u32::try_from(key >> 3).map_err(|_| ReadError::NotOnnx("it is not protobuf"))?;
        let field = match key & 7 {
            0 => Field::Number(self.varint(end)?),
            1 => Field::Eight(self.fixed(begin, end)?),
            2 => {
                let length = self.varint(end)?;
                let left = end - self.at;
                if length > left {
                    return Err(ReadError::Truncated { at: begin, length, left });
                }
                Field::Bytes(self.at + length)
            }
            5 => Field::Four(self.fixed(begin, end)?),
            _ => return Err(ReadError::NotOnnx("it is not protobuf")),
        };
        Ok(Some((number, field)))
    }

    /// Leaves what a field has.
    pub fn skip(&mut self, field: &Field) -> Result<(), ReadError> {
        let Field::Bytes(end) = *field else { return Ok(()) };
        // A relative seek keeps the buffer where the target lies inside it. File sizes stay below 2^63.
        self.file.seek_relative((end - self.at).cast_signed())?;
        self.at = end;
        Ok(())
    }

    /// Appends the bytes up to there. The caller has a bound on their number.
    pub fn copy(&mut self, end: u64, to: &mut Vec<u8>) -> Result<(), ReadError> {
        let length = end - self.at;
        let read = (&mut self.file).take(length).read_to_end(to)? as u64;
        if read < length {
            return Err(ReadError::Truncated { at: self.at, length, left: read });
        }
        self.at = end;
        Ok(())
    }

    /// A text of at most so many bytes.
    pub fn text(&mut self, end: u64, longest: u64) -> Result<String, ReadError> {
        if end - self.at > longest {
            return Err(ReadError::NotOnnx("a name in it is too long"));
        }
        let mut text = Vec::new();
        self.copy(end, &mut text)?;
        String::from_utf8(text).map_err(|_| ReadError::NotOnnx("a name in it is not UTF-8"))
    }

    fn fixed<const N: usize>(&mut self, begin: u64, end: u64) -> Result<[u8; N], ReadError> {
        let (length, left) = (N as u64, end - self.at);
        if length > left {
            return Err(ReadError::Truncated { at: begin, length, left });
        }
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.at += length;
        Ok(bytes)
    }

    fn varint(&mut self, end: u64) -> Result<u64, ReadError> {
        let begin = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.file.fill_buf()?.first().filter(|_| self.at < end) else {
                return Err(ReadError::Truncated { at: begin, length: self.at - begin + 1, left: end - begin });
            };
            self.file.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ReadError::NotOnnx("it is not protobuf"))
    }
}

/// Appends a field's key.
pub fn put_key(to: &mut Vec<u8>, number: u32, wire_type: u8) {
    prost::encoding::encode_varint(u64::from(number) << 3 | u64::from(wire_type), to);
}

/// Appends the key and the length of a field of bytes.
pub fn put_length(to: &mut Vec<u8>, number: u32, length: u64) {
    put_key(to, number, 2);
    prost::encoding::encode_varint(length, to);
}

/// Appends a field that is not of bytes.
pub fn put_number(to: &mut Vec<u8>, number: u32, field: &Field) {
    match field {
        Field::Number(value) => {
            put_key(to, number, 0);
            prost::encoding::encode_varint(*value, to);
        }
        Field::Four(bytes) => {
            put_key(to, number, 5);
            to.extend_from_slice(bytes);
        }
        Field::Eight(bytes) => {
            put_key(to, number, 1);
            to.extend_from_slice(bytes);
        }
        Field::Bytes(_) => {}
    }
}
