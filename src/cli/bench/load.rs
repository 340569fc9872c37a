//! `webinfer bench load`: many requests to a running service, and how it answers them.

use std::{
    iter,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum, value_parser};
use serde_json::{Value, json};

use super::{
    arrivals::{Arrivals, Due},
    display,
    drive::{Driver, Lane},
    inputs::{Inputs, Shape},
    print::Report,
    tally::Tally,
};
use crate::{
    cli::{CommandError, progress, read_file, texts},
    config::duration,
    proto::v1,
    rpc::client::Client,
};

/// Streams over each connection. A service takes 256 requests of one stream at a time.
const STREAMS: usize = 4;

/// Arguments of `bench load`.
#[derive(Debug, Args)]
#[command(after_help = "A closed loop (--callers) finds out how much a service can do: it never sends more than is \
    answered. An open loop (--rate) finds out how long users wait: requests come when they come, also while the service \
    is slow, and each is timed from the moment it was due.\n\nExamples:\n  \
    webinfer bench load\n  \
    webinfer bench load --callers 64 --items 4 --duration 30s\n  \
    webinfer bench load --rate 200 --deadline 500ms --format json\n  \
    webinfer bench load --rate 50 --arrivals constant --stream --file sentences.txt\n  \
    webinfer bench load --model add --shape a=f32:1x4 --shape b=i64:1x4")]
pub struct Load {
    /// Address of the service
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    address: String,
    /// Model to run; it is loaded first
    #[arg(long, value_name = "ID", default_value = "all-MiniLM-L6-v2")]
    model: String,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,

    /// Closed loop: so many callers, each of which sends its next request once it has its answer
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = value_parser!(u32).range(1..=100_000), help_heading = "Loop")]
    callers: u32,
    /// Open loop: so many requests a second, whatever the answers
    #[arg(long, value_name = "RATE", value_parser = rate, conflicts_with = "callers", help_heading = "Loop")]
    pub rate: Option<f64>,
    /// How the requests of an open loop are spread over the time
    #[arg(long, value_enum, default_value = "poisson", requires = "rate", help_heading = "Loop")]
    arrivals: Arrivals,
    /// Most requests of an open loop in flight; one that is due above it is not sent, and counted
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=1_000_000), requires = "rate", help_heading = "Loop")]
    pub max_in_flight: u32,
    /// Time that is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Loop")]
    duration: Duration,
    /// Time before it, whose requests are not counted
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = warm_up, help_heading = "Loop")]
    pub warm_up: Duration,

    /// Items of each request
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=65_536), help_heading = "Requests")]
    items: u32,
    /// Time for each request, from when it is due; with --stream the service is not told
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Requests")]
    pub deadline: Duration,
    /// How urgent the requests say they are
    #[arg(long, value_enum, default_value = "normal", help_heading = "Requests")]
    priority: Priority,
    /// Send the requests over a few streams, instead of a call for each
    #[arg(long, help_heading = "Requests")]
    stream: bool,
    /// Connections to spread the requests over
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = value_parser!(u32).range(1..=256), help_heading = "Requests")]
    connections: u32,

    /// File with one text a line, sent in turn; without it, each text is made up and unlike all others
    #[arg(long, value_name = "FILE", help_heading = "Inputs")]
    file: Option<PathBuf>,
    /// Words of each text that is made up
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = value_parser!(u32).range(0..=65_536), conflicts_with = "file", help_heading = "Inputs")]
    words: u32,
    /// Tensor with random values, like x=f32:1x16, for models of the task "tensor"; once for each input of the graph
    #[arg(long, value_name = "NAME=TYPE:DIMENSIONS", conflicts_with_all = ["file", "words"], help_heading = "Inputs")]
    shape: Vec<Shape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables, for people
    Table,
    /// For programs; times are in microseconds
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Priority {
    /// Work that can wait
    Low,
    /// The usual
    Normal,
    /// Somebody waits for the answer
    High,
}

impl From<Priority> for v1::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

/// Drives the service, and reports. Fails where not one request was OK.
pub async fn run(load: Load) -> Result<(), CommandError> {
    let client = Client::connect(&load.address).await?;
    let task = client.model(&load.model).await?.spec.unwrap_or_default().task;
    let inputs = load.inputs(&task)?;
    progress::load(&client, &load.model).await?;
    let lanes = load.lanes(client).await?;
    let begin = Instant::now();
    let window = begin + load.warm_up..begin + load.warm_up + load.duration;
    let tally = Tally::new(window.clone(), load.deadline).map_err(|error| CommandError::Usage(error.to_string()))?;
    let driver = Arc::new(Driver {
        lanes,
        request: v1::InferRequest {
            model: load.model.clone(),
            priority: v1::Priority::from(load.priority).into(),
            ..Default::default()
        },
        inputs,
        seed: rand::random(),
        items: load.items,
        deadline: load.deadline,
        made: AtomicU64::new(0),
        tally: Mutex::new(tally),
    });
    let drive = async {
        match load.rate {
            None => driver.clone().closed(load.callers, window.end).await,
            Some(rate) => {
                let due = Due::new(load.arrivals, rate, rand::random()).map(|due| begin + due);
                let due = due.take_while(|due| *due < window.end);
                driver.clone().open(due, load.max_in_flight as usize).await;
            }
        }
    };
    let interrupted = tokio::select! {
        () = drive => false,
        _ = tokio::signal::ctrl_c() => true,
        never = display::show(&driver) => match never {},
    };
    let mut tally = driver.tally();
    tally.end(Instant::now());
    let report = Report { load: &load, tally: &tally, interrupted };
    match load.format {
        Format::Table => print!("{}", report.table()),
        Format::Json => println!("{}", report.json()),
    }
    if tally.ok.requests == 0 {
        return Err(CommandError::Usage("not one request was OK".into()));
    }
    Ok(())
}

impl Load {
    /// What the requests carry, as the model's task wants it.
    fn inputs(&self, task: &str) -> Result<Inputs, CommandError> {
        let model = &self.model;
        match (task == "tensor", self.shape.as_slice()) {
            (true, []) => Err(CommandError::Usage(format!(
                "{model} takes tensors: say name, type and dimensions of each input of its graph, like --shape \
                 x=f32:1x16"
            ))),
            (true, shapes) => Ok(Inputs::Tensors(shapes.to_vec())),
            (false, [_, ..]) => Err(CommandError::Usage(format!("{model} takes texts: leave --shape out"))),
            (false, []) => match &self.file {
                Some(file) => Ok(Inputs::Given(texts(&read_file(file)?)?)),
                None => Ok(Inputs::Words(self.words as usize)),
            },
        }
    }

    /// The ways for requests: the connections, or streams over them.
    async fn lanes(&self, first: Client) -> Result<Vec<Lane>, CommandError> {
        let mut clients = vec![first];
        for _ in 1..self.connections {
            clients.push(Client::connect(&self.address).await?);
        }
        if !self.stream {
            return Ok(clients.into_iter().map(Lane::Unary).collect());
        }
        let mut lanes = Vec::new();
        for client in iter::repeat_n(&clients, STREAMS).flatten() {
            lanes.push(Lane::Stream(client.open_stream().await?));
        }
        Ok(lanes)
    }

    /// The loop in words.
    pub fn pace(&self) -> String {
        match self.rate {
            None => format!("closed, {}", plural(self.callers, "caller")),
            Some(rate) => format!("open, {rate} requests/s, {}", self.arrivals.name()),
        }
    }

    /// What a request is, in words.
    pub fn kind(&self) -> String {
        let (items, connections) = (plural(self.items, "item"), plural(self.connections, "connection"));
        let way = if self.stream { "streams" } else { "unary calls" };
        format!("{}, {items} each, by {way} over {connections}", self.model)
    }

    /// What was asked for, for programs.
    pub fn json(&self) -> Value {
        let open = self.rate.is_some();
        json!({
            "model": self.model,
            "loop": if open { "open" } else { "closed" },
            "callers": (!open).then_some(self.callers),
            "rate": self.rate,
            "arrivals": open.then_some(self.arrivals.name()),
            "max_in_flight": open.then_some(self.max_in_flight),
            "duration_s": self.duration.as_secs_f64(),
            "warm_up_s": self.warm_up.as_secs_f64(),
            "items": self.items,
            "deadline_s": self.deadline.as_secs_f64(),
            "priority": v1::Priority::from(self.priority).as_str_name(),
            "stream": self.stream,
            "connections": self.connections,
        })
    }
}

fn plural(count: u32, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be a number of requests a second, from 0.001 to 1000000".into()),
    }
}

fn warm_up(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        cli::bench::{Bench, inputs::Inputs, load::Load},
        config::{Mode, parse},
    };

    fn load(arguments: &[&str]) -> Result<Load, String> {
        let arguments = ["webinfer", "bench", "load"].iter().chain(arguments).map(Into::into).collect();
        match parse(arguments, Vec::new(), "webinfer".into(), Vec::new()).map_err(|error| error.to_string())? {
            Mode::Bench(Bench::Load(load)) => Ok(load),
            _ => Err("another mode".into()),
        }
    }

    #[test]
    fn the_loop_is_closed_or_open() {
        assert_eq!(load(&[]).unwrap().pace(), "closed, 8 callers");
        assert_eq!(load(&["--rate", "2.5"]).unwrap().pace(), "open, 2.5 requests/s, poisson");
        for (arguments, word) in [
            (&["--rate", "5", "--callers", "2"][..], "--callers"),
            (&["--arrivals", "constant"], "--rate"),
            (&["--rate", "0"], "0.001"),
            (&["--rate", "NaN"], "0.001"),
            (&["--duration", "0s"], "1ms"),
            (&["--shape", "x"], "NAME=TYPE"),
            (&["--browsers", "1"], "--browsers"),
        ] {
            let error = load(arguments).unwrap_err();
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
        assert!(load(&["--warm-up", "0s"]).unwrap().warm_up.is_zero());
    }

    #[test]
    fn inputs_are_what_the_task_takes() {
        assert!(matches!(load(&["--words", "3"]).unwrap().inputs("feature-extraction").unwrap(), Inputs::Words(3)));
        let shape = ["--shape", "x=f32:2", "--shape", "y=i64:1"];
        assert!(
            matches!(load(&shape).unwrap().inputs("tensor").unwrap(), Inputs::Tensors(shapes) if shapes.len() == 2)
        );
        assert!(load(&[]).unwrap().inputs("tensor").unwrap_err().to_string().contains("--shape x=f32:1x16"));
        assert!(load(&shape).unwrap().inputs("feature-extraction").unwrap_err().to_string().contains("leave"));
    }
}
