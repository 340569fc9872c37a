//! Spans, in a program that was built without the feature `otlp`: there are none.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use super::{
    Ended, Endpoint, Run, Settings, StartError,
    said::{Parent, TraceId},
};
use crate::{error::Error, execution::Execution};

#[derive(Debug)]
pub struct Source(Infallible);
#[derive(Debug)]
pub struct Spans(Infallible);
#[derive(Debug)]
pub struct ItemSpan(Infallible);

impl Source {
    pub fn start(_: &Endpoint, _: &Settings) -> Result<Self, StartError> {
        Err(StartError("this program was built without the feature otlp".into()))
    }

    pub fn call(&self, _: &'static str, _: Option<&Parent>) -> Option<Spans> {
        match self.0 {}
    }

    pub async fn flush(&self, _: Duration) {
        match self.0 {}
    }
}

impl Spans {
    pub fn trace(&self) -> TraceId {
        match self.0 {}
    }

    pub fn request(&self) -> Option<Self> {
        match self.0 {}
    }

    pub fn stage(&self, _: &'static str, _: Instant, _: Option<&Error>) {
        match self.0 {}
    }

    pub fn event(&self, _: &'static str) {
        match self.0 {}
    }

    pub fn item(&self, _: usize, _: Instant) -> Option<ItemSpan> {
        match self.0 {}
    }

    pub fn end(&self, _: &Ended<'_>) {
        match self.0 {}
    }
}

impl ItemSpan {
    pub fn end(self, _: Result<&Execution, &Error>) {
        match self.0 {}
    }
}

/// There is nothing to tell of.
pub fn batch<'a>(_: impl Iterator<Item = (&'a Spans, &'a mut ItemSpan)>, _: &Run<'_>) {}
