//! A look at an ONNX file without reading its weights: is it whole, and which other files does it name?
//!
//! The protobuf wire format is walked field by field and everything of no interest is skipped by seeking, so that a
//! model of gigabytes costs a few reads and no memory. Field numbers are those of the ONNX schema (onnx.proto).

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// Why a file is not a usable ONNX model.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It ends inside a field.
    #[error("it is truncated: a field at byte {at} is said to have {length} bytes, and {left} are left")]
    Truncated {
        /// Where the field begins.
        at: u64,
        /// Its stated length.
        length: u64,
        /// What the file still has.
        left: u64,
    },
    /// It is something else.
    #[error("it is not an ONNX model: {0}")]
    NotOnnx(&'static str),
}

mod field {
    pub const MODEL_GRAPH: u64 = 7;
    pub const GRAPH_INITIALIZER: u64 = 5;
    pub const TENSOR_EXTERNAL_DATA: u64 = 13;
    pub const ENTRY_KEY: u64 = 1;
    pub const ENTRY_VALUE: u64 = 2;
}

/// Longest name or location that is read.
const LONGEST_TEXT: u64 = 4096;

/// Walks a whole file and returns the locations of its external data, each once.
pub fn external_data<R: Read + Seek>(mut file: R) -> Result<Vec<String>, ScanError> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut walk = Walk { file: BufReader::with_capacity(4096, file), at: 0 };
    let mut locations = Vec::new();
    let mut has_graph = false;
    while let Some((number, inner)) = walk.field(end)? {
        match (number, inner) {
            (field::MODEL_GRAPH, Some(graph_end)) => {
                has_graph = true;
                walk.graph(graph_end, &mut locations)?;
            }
            (_, Some(skip)) => walk.seek(skip)?,
            (_, None) => {}
        }
    }
    if !has_graph {
        return Err(ScanError::NotOnnx("it has no graph"));
    }
    Ok(locations)
}

struct Walk<R> {
    file: BufReader<R>,
    at: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn graph(&mut self, end: u64, locations: &mut Vec<String>) -> Result<(), ScanError> {
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::GRAPH_INITIALIZER, Some(tensor_end)) => self.tensor(tensor_end, locations)?,
                (_, Some(skip)) => self.seek(skip)?,
                (_, None) => {}
            }
        }
        Ok(())
    }

    fn tensor(&mut self, end: u64, locations: &mut Vec<String>) -> Result<(), ScanError> {
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::TENSOR_EXTERNAL_DATA, Some(entry_end)) => {
                    if let Some(location) = self.location(entry_end)?
                        && !locations.contains(&location)
                    {
                        locations.push(location);
                    }
                }
                (_, Some(skip)) => self.seek(skip)?,
                (_, None) => {}
            }
        }
        Ok(())
    }

    /// The value of an external-data entry whose key is `location`.
    fn location(&mut self, end: u64) -> Result<Option<String>, ScanError> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some((number, inner)) = self.field(end)? {
            match (number, inner) {
                (field::ENTRY_KEY, Some(text_end)) => key = self.text(text_end)?,
                (field::ENTRY_VALUE, Some(text_end)) => value = self.text(text_end)?,
                (_, Some(skip)) => self.seek(skip)?,
                (_, None) => {}
            }
        }
        Ok((key == "location").then_some(value))
    }

    fn text(&mut self, end: u64) -> Result<String, ScanError> {
        let length = end - self.at;
        if length > LONGEST_TEXT {
            return Err(ScanError::NotOnnx("the name of an external file is too long"));
        }
        let mut text = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut text)?;
        self.at = end;
        String::from_utf8(text).map_err(|_| ScanError::NotOnnx("the name of an external file is not UTF-8"))
    }

    /// The next field before `end`: its number, and where its content ends if it has a length. Numbers are skipped.
    fn field(&mut self, end: u64) -> Result<Option<(u64, Option<u64>)>, ScanError> {
        if self.at == end {
            return Ok(None);
        }
        let begin = self.at;
        let key = self.varint(end)?;
        let skip = match key & 7 {
            0 => {
                self.varint(end)?;
                return Ok(Some((key >> 3, None)));
            }
            1 => 8,
            5 => 4,
            2 => {
                let length = self.varint(end)?;
                let left = end - self.at;
                if length > left {
                    return Err(ScanError::Truncated { at: begin, length, left });
                }
                return Ok(Some((key >> 3, Some(self.at + length))));
            }
            _ => return Err(ScanError::NotOnnx("it is not protobuf")),
        };
        let left = end - self.at;
        if skip > left {
            return Err(ScanError::Truncated { at: begin, length: skip, left });
        }
        self.seek(self.at + skip)?;
        Ok(Some((key >> 3, None)))
    }

    fn varint(&mut self, end: u64) -> Result<u64, ScanError> {
        let begin = self.at;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.file.fill_buf()?.first().filter(|_| self.at < end) else {
                return Err(ScanError::Truncated { at: begin, length: self.at - begin + 1, left: end - begin });
            };
            self.file.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ScanError::NotOnnx("it is not protobuf"))
    }

    fn seek(&mut self, to: u64) -> Result<(), ScanError> {
        // A relative seek keeps the buffer where the target lies inside it. File sizes stay below 2^63.
        self.file.seek_relative((to - self.at).cast_signed())?;
        self.at = to;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::{ScanError, external_data};

    fn nested(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(content);
        field
    }

    fn model(location: &str) -> Vec<u8> {
        let entry = [nested(1, b"location"), nested(2, location.as_bytes())].concat();
        let tensor = [nested(8, b"weight"), nested(9, &[7; 1000]), nested(13, &entry)].concat();
        let graph = [nested(2, b"graph"), nested(5, &tensor), nested(5, &tensor)].concat();
        [vec![1 << 3, 8], nested(2, b"producer"), nested(7, &graph)].concat()
    }

    #[test]
    fn names_each_external_file_once() {
        let found = external_data(Cursor::new(model("model.onnx_data"))).unwrap();
        assert_eq!(found, ["model.onnx_data"]);
    }

    proptest! {
        #[test]
        fn every_cut_is_noticed(cut in 1usize..1100) {
            let whole = model("w");
            let short = &whole[..whole.len() - cut.min(whole.len() - 1)];
            let error = external_data(Cursor::new(short)).unwrap_err();
            let noticed = matches!(error, ScanError::Truncated { .. } | ScanError::NotOnnx(_));
            prop_assert!(noticed);
        }

        #[test]
        fn garbage_ends_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = external_data(Cursor::new(bytes));
        }
    }
}
