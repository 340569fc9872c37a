//! Feed: follows a service, and comes back to it when it was gone.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::{
    sync::mpsc::Sender,
    time::{interval, sleep, timeout},
};

use crate::{
    proto::v1,
    rpc::client::{Client, ClientError},
};

/// Without a word for this long the service is lost: it tells something each second.
const SILENCE: Duration = Duration::from_secs(8);
/// How often models are asked for.
const MODELS: Duration = Duration::from_secs(2);
/// How long to wait before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What there is to tell of a service.
#[derive(Clone, Debug)]
pub enum News {
    /// The pool has changed.
    Pool(v1::PoolStatus),
    /// The models, as they are.
    Models(Vec<v1::Model>),
    /// What the models did; the first such news after the service was found tells all that is known.
    Activity { first: bool, message: v1::WatchActivityResponse },
    /// The service is gone, and why.
    Lost(String),
}

/// Follows until nobody reads the news.
pub async fn follow(address: String, client: Client, news: Sender<News>) {
    let mut connected = Ok(client);
    loop {
        let why = match connected {
            Ok(client) => session(&client, &news).await.map_or_else(|error| error.to_string(), str::to_owned),
            Err(error) => ClientError::to_string(&error),
        };
        if news.send(News::Lost(why)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
        connected = Client::connect(&address).await;
    }
}

/// Follows until something breaks; returns why it ended where nothing did.
async fn session(client: &Client, news: &Sender<News>) -> Result<&'static str, ClientError> {
    let mut pools = client.watch_pool().await?;
    let mut activity = client.watch_activity().await?;
    let mut models = interval(MODELS);
    let mut first = true;
    loop {
        let fresh = tokio::select! {
            pool = pools.next() => match pool {
                Some(pool) => News::Pool(pool?),
                None => return Ok("it has ended"),
            },
            message = timeout(SILENCE, activity.next()) => match message {
                Ok(Some(message)) => News::Activity { first: std::mem::take(&mut first), message: message? },
                Ok(None) => return Ok("it has ended"),
                Err(_) => return Ok("it tells nothing any more"),
            },
            _ = models.tick() => match timeout(SILENCE, client.models()).await {
                Ok(models) => News::Models(models?),
                Err(_) => return Ok("it tells nothing any more"),
            },
        };
        if news.send(fresh).await.is_err() {
            return Ok("nobody reads");
        }
    }
}
