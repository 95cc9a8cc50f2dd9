//! Records on disk: postcard behind `format u8 | kind u8 | version u8`.
//!
//! A record that does not decode is a typed error for its tenant; its length is bounded before it is decoded.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Reason, Result};
use crate::limits::RECORD_BYTES_MAX;

const FORMAT: u8 = 1;

/// A type that is stored as a record. `KIND` never changes and is unique; `VERSION` rises with the layout.
pub(crate) trait Record: Serialize + DeserializeOwned {
    const KIND: u8;
    const VERSION: u8 = 1;
    /// For errors.
    const NAME: &'static str;

    /// Reads what an older version wrote; `None` when it does not decode, or that version is not read any more.
    fn decode_older(_version: u8, _body: &[u8]) -> Option<Self> {
        None
    }
}

/// The bytes of a record.
pub(crate) fn encode<R: Record>(record: &R) -> Result<Vec<u8>> {
    let bytes = postcard::to_extend(record, vec![FORMAT, R::KIND, R::VERSION])
        .map_err(|_| Error::invalid(R::NAME, "cannot be encoded"))?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Error::too_large(R::NAME, RECORD_BYTES_MAX, bytes.len()));
    }
    Ok(bytes)
}

/// The record of these bytes.
pub(crate) fn decode<R: Record>(bytes: &[u8]) -> Result<R> {
    let damaged = || Error::from(Reason::DamagedRecord(R::NAME));
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(damaged());
    }
    let (&[format, kind, version], body) = bytes.split_first_chunk::<3>().ok_or_else(damaged)?;
    if kind != R::KIND {
        return Err(damaged());
    }
    if format == FORMAT
        && version < R::VERSION
        && let Some(record) = R::decode_older(version, body)
    {
        return Ok(record);
    }
    if format != FORMAT || version != R::VERSION {
        let newest = u32::from(FORMAT) << 8 | u32::from(R::VERSION);
        return Err(
            Reason::FormatVersion { found: u32::from(format) << 8 | u32::from(version), supported: newest }.into()
        );
    }
    decode_body(body).ok_or_else(damaged)
}

/// All of these bytes as one value.
pub(crate) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sample(String, u32);
    impl Record for Sample {
        const KIND: u8 = 250;
        const NAME: &'static str = "sample";
    }

    #[test]
    fn decodes_only_what_it_encoded() {
        let bytes = encode(&Sample("text".into(), 7)).unwrap();
        assert_eq!(decode::<Sample>(&bytes).unwrap(), Sample("text".into(), 7));
        for length in 0..bytes.len() {
            assert_eq!(decode::<Sample>(&bytes[..length]).unwrap_err().kind(), ErrorKind::Damaged);
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode::<Sample>(&longer).unwrap_err().kind(), ErrorKind::Damaged);
        let mut later = bytes.clone();
        later[2] = 2;
        assert_eq!(decode::<Sample>(&later).unwrap_err().kind(), ErrorKind::Incompatible);
        let mut other = bytes;
        other[1] = 249;
        assert_eq!(decode::<Sample>(&other).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        // A string that claims 2^60 bytes.
        let bytes = [&[FORMAT, 250, 1][..], &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]].concat();
        assert_eq!(decode::<Sample>(&bytes).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
