//! Status: what each error means on the wire. The only place that names gRPC codes.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::Error;

/// ErrorInfo's domain.
const DOMAIN: &str = "webinfer";
/// The trailer that tells a client's retry policy when to come back (gRFC A6).
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// The code of what is refused because too much is pending.
pub const RESOURCE_EXHAUSTED: &str = "RESOURCE_EXHAUSTED";
/// The code of what no service took.
pub const UNAVAILABLE: &str = "UNAVAILABLE";
/// When a caller should come back after an error that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The status of an error, with ErrorInfo, and BadRequest or RetryInfo where they help.
pub fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, metadata(error));
    if let Error::Invalid { field, message } = error {
        details.add_bad_request_violation(field, message);
    }
    let retry_after = match error {
        Error::Overloaded { retry_after, .. } | Error::CircuitOpen { retry_after, .. } => Some(*retry_after),
        Error::NoBrowser { .. } | Error::WorkerLost { .. } => Some(RETRY_AFTER),
        _ => None,
    };
    let mut trailers = MetadataMap::new();
    let code = code(error);
    match retry_after {
        Some(after) => {
            details.set_retry_info(retry_after);
            // Rounded up: a caller that comes back a part of a millisecond early is refused again.
            let millis = after.as_nanos().div_ceil(1_000_000);
            trailers.insert(PUSHBACK, MetadataValue::from(u64::try_from(millis).unwrap_or(u64::MAX)));
        }
        // Policies that try this code again must not: it stays as it is.
        None if code == Code::ResourceExhausted => {
            trailers.insert(PUSHBACK, MetadataValue::from_static("-1"));
        }
        None => {}
    }
    Status::with_error_details_and_metadata(code, error.to_string(), details, trailers)
}

fn code(error: &Error) -> Code {
    match error {
        Error::Invalid { .. } | Error::BadInput { .. } => Code::InvalidArgument,
        Error::ModelNotFound { .. } | Error::BrowserNotFound { .. } | Error::RunNotFound { .. } => Code::NotFound,
        Error::ModelExists { .. } => Code::AlreadyExists,
        Error::TooManyModels { .. } | Error::Overloaded { .. } | Error::OutOfMemory { .. } => Code::ResourceExhausted,
        Error::ModelNotLoaded { .. } | Error::LoadFailed { .. } | Error::Quarantined { .. } | Error::History(_) => {
            Code::FailedPrecondition
        }
        // gRPC's own words for it: not implemented, or not enabled in this service.
        Error::NotEnabled { .. } => Code::Unimplemented,
        Error::DeadlineExceeded | Error::DeadlineTooShort { .. } | Error::NotRead { .. } => Code::DeadlineExceeded,
        Error::NoBrowser { .. } | Error::WorkerLost { .. } | Error::CircuitOpen { .. } | Error::ShuttingDown => {
            Code::Unavailable
        }
        Error::Inference { .. } | Error::BadOutput { .. } | Error::Internal(_) => Code::Internal,
    }
}

fn metadata(error: &Error) -> HashMap<String, String> {
    let pair = match error {
        Error::ModelNotFound { id }
        | Error::ModelExists { id }
        | Error::ModelNotLoaded { id }
        | Error::LoadFailed { id, .. }
        | Error::CircuitOpen { id, .. } => Some(("model", id)),
        Error::BrowserNotFound { id } => Some(("browser", id)),
        Error::RunNotFound { id } => Some(("run", id)),
        Error::Quarantined { model, .. }
        | Error::BadInput { model, .. }
        | Error::Inference { model, .. }
        | Error::OutOfMemory { model, .. }
        | Error::BadOutput { model, .. } => Some(("model", model)),
        Error::Invalid { field, .. } => Some(("field", field)),
        _ => None,
    };
    pair.map(|(key, value)| (key.to_owned(), value.clone())).into_iter().collect()
}

/// The same as a message, for errors inside a stream.
pub fn to_message(error: &Error) -> tonic_types::Status {
    let status = to_status(error);
    // The details of a gRPC status are such a message already, with code and text.
    tonic_types::Status::decode(status.details()).unwrap_or_default()
}

/// The status that [`to_message`] made a message of.
pub fn from_message(message: &tonic_types::Status) -> Status {
    Status::with_details(Code::from(message.code), message.message.clone(), message.encode_to_vec().into())
}

/// A code's name in gRPC's own words.
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => RESOURCE_EXHAUSTED,
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => UNAVAILABLE,
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
