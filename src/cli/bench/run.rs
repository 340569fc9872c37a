//! `webinfer bench run`: measures a matrix, with a service of its own or a running one.

use clap::Args;
use webinfer_bench::{Known, Plan, RowState, Run as Record, Selector, report};

use super::{
    asked::Asked,
    own::{Own, told},
    plan::{Matrix, kind},
    progress::Followed,
    rows,
};
use crate::{
    browser::{Kind, Wanted},
    cli::{CommandError, local},
    config::Serve,
    models::Task,
    proto::v1,
    rpc::client::{Client, plan_to_wire},
};

/// Tokens of a text, padded, for which there is room in a batch of a service of its own.
const LONGEST_TEXT: u32 = 8191;

/// What is said with a plan, and so cannot be said of one that goes on.
const OF_A_PLAN: [&str; 18] = [
    "plan",
    "model",
    "model_type",
    "platform",
    "precision",
    "bits",
    "mixed_precision",
    "batch",
    "concurrency",
    "threads",
    "workers",
    "rounds",
    "round_time",
    "at_once",
    "repeats",
    "input_file",
    "input_image",
    "input_audio",
];

/// Arguments of `bench run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Each cell of the matrix is measured in workers of its own, loaded for it alone. Cells that are loaded \
    together are measured in turn, and each round is kept as it ends: what was measured before Ctrl-C is not lost, and \
    --resume goes on.\n\nWithout --address a service is started for the run. What follows -- are its settings.\n\nExamples:\n  \
    webinfer bench run --platform wasm --browser chromium,firefox\n  \
    webinfer bench run --model bert-base --platform webgpu --bits 4,16,32 --batch 1,8,32 --require-hardware\n  \
    webinfer bench run --plan nightly.toml --json\n  \
    webinfer bench run --model vit --input-image cat.png --concurrency 1,16\n  \
    webinfer bench run --resume latest\n  \
    webinfer bench run --platform webgpu -- --gpu vulkan --models /srv/models"
)]
pub struct Run {
    /// What to measure.
    #[command(flatten)]
    matrix: Matrix,
    /// What the models are asked.
    #[command(flatten)]
    asked: Asked,
    /// Go on with a run that was ended: the beginning of its id, or "latest"; give --input, parameters and --require-hardware
    /// again where it had any
    #[arg(long, value_name = "RUN", conflicts_with_all = OF_A_PLAN)]
    resume: Option<String>,
    /// Measure with a running service; it keeps what is found
    #[arg(long, value_name = "ADDRESS")]
    address: Option<String>,
    /// Measure nothing on webgpu, webnn-gpu or webnn-npu of which it is not certain that a GPU computes it
    #[arg(long)]
    require_hardware: bool,
    /// Print the record instead of a table
    #[arg(long)]
    json: bool,
    /// Tell what the service does, and each row as it is done
    #[arg(long)]
    pub verbose: bool,
    /// Open windows instead of running headless, in a service of its own
    #[arg(long, conflicts_with = "address")]
    show_browser: bool,
    /// Settings.
    #[command(flatten)]
    pub own: Own,
}

/// Measures, and prints what was found.
pub async fn run(run: Run) -> Result<(), CommandError> {
    let plan = match &run.resume {
        None => run.planned()?,
        Some(name) => run.recorded(name).await?.plan,
    };
    let followed = Followed::new(run.verbose);
    let measured = |client: Client, plan: Plan| {
        let (run, followed) = (&run, &followed);
        async move { run.measure(&client, plan, followed).await }
    };
    let result = match &run.address {
        Some(address) => interruptible(measured(Client::connect(address).await?, plan)).await,
        None => {
            let settings = service(run.own.serve()?, &run.matrix.browser, &plan, run.show_browser);
            let (app, client) = interruptible(local(&settings)).await??;
            let result = interruptible(measured(client, plan)).await;
            app.shut_down().await;
            result
        }
    };
    let record = result.map_err(|Interrupted| interrupted(followed.id().map(|id| run.to_go_on(&id))))??;
    run.print(&record)
}

impl Run {
    /// The command that goes on with it.
    fn to_go_on(&self, id: &str) -> String {
        let mut words = vec!["webinfer bench run --resume".to_owned(), id.to_owned()];
        words.extend(self.address.iter().flat_map(|address| ["--address".to_owned(), address.clone()]));
        words.extend(self.require_hardware.then(|| "--require-hardware".to_owned()));
        let own: Vec<_> = self.own.arguments().map(|word| word.to_string_lossy().into_owned()).collect();
        if !own.is_empty() {
            words.extend(["--".to_owned()].into_iter().chain(own));
        }
        let again = if self.asked.is_given() { ", with the same inputs and parameters before any --," } else { "" };
        format!("{}{again}", words.join(" "))
    }

    fn planned(&self) -> Result<Plan, CommandError> {
        let mut plan = self.matrix.plan()?;
        self.asked.note(&mut plan);
        Ok(plan)
    }

    /// The record of a run that is to go on.
    async fn recorded(&self, name: &str) -> Result<Record, CommandError> {
        match &self.address {
            Some(address) => record(&Client::connect(address).await?, name).await,
            None => {
                let selector: Selector = name.parse().map_err(CommandError::Usage)?;
                self.own.open()?.get(&selector).map_err(told)
            }
        }
    }

    async fn measure(&self, client: &Client, mut plan: Plan, followed: &Followed) -> Result<Record, CommandError> {
        let task = self.choose_models(client, &mut plan).await?;
        // In a message, what is zero or empty would mean the default.
        plan.check(&Known::default()).map_err(told)?;
        let request = v1::RunRequest {
            plan: if self.resume.is_none() { Some(plan_to_wire(&plan).map_err(CommandError::Usage)?) } else { None },
            resume: self.resume.clone().unwrap_or_default(),
            items: self.asked.items(&plan)?,
            parameters: self.asked.parameters(&task),
            require_hardware: self.require_hardware,
        };
        let id = followed.run(client, request).await?;
        record(client, &id).await
    }

    /// Sees to it that the models are of the family that was named. Returns the task of the first.
    async fn choose_models(&self, client: &Client, plan: &mut Plan) -> Result<String, CommandError> {
        let specs: Vec<_> = client.models().await?.into_iter().filter_map(|model| model.spec).collect();
        if let Some(family) = &self.matrix.model_type {
            let is_of = |spec: &v1::ModelSpec| Task::parse(&spec.task).is_some_and(|task| task.family == family);
            if plan.models.is_empty() {
                plan.models = specs.iter().filter(|spec| is_of(spec)).map(|spec| spec.id.clone()).collect();
            }
            if let Some(other) = specs.iter().find(|spec| plan.models.contains(&spec.id) && !is_of(spec)) {
                let message =
                    format!("{} has the task {}, which is not of --model-type {family}", other.id, other.task);
                return Err(CommandError::Usage(message));
            }
        }
        let first = specs.iter().find(|spec| plan.models.contains(&spec.id));
        Ok(first.map(|spec| spec.task.clone()).unwrap_or_default())
    }

    fn print(&self, record: &Record) -> Result<(), CommandError> {
        if self.json {
            println!("{:#}", report::json(record).map_err(told)?);
        } else {
            print!("{}", rows::table(record));
        }
        let failed = record.rows.iter().filter(|row| matches!(row.state, RowState::Failed { .. })).count();
        if self.require_hardware && failed > 0 {
            return Err(CommandError::Usage(format!(
                "{failed} rows were not measured, and --require-hardware was given"
            )));
        }
        if !record.rows.iter().any(|row| row.state == RowState::Measured) {
            return Err(CommandError::Usage("not one row was measured".into()));
        }
        Ok(())
    }
}

/// The settings of a service of its own: one browser of each kind that is named, and room for the largest batch.
pub fn service(serve: &Serve, browsers: &[Wanted], plan: &Plan, show: bool) -> Serve {
    let mut serve = serve.clone();
    let of_plan = plan.browsers.iter().filter_map(|name| Kind::named(name).map(Wanted::Kind));
    let mut wanted = browsers.to_vec();
    wanted.extend(of_plan.filter(|own| !browsers.iter().any(|given| kind(given) == kind(own))));
    if !wanted.is_empty() {
        serve.browser = wanted;
    }
    serve.browsers = serve.browsers.max(u32::try_from(serve.browser.len()).unwrap_or(u32::MAX));
    serve.max_batch = plan.batch.iter().copied().fold(serve.max_batch, u32::max);
    serve.max_batch_tokens = serve.max_batch_tokens.max(serve.max_batch.saturating_mul(LONGEST_TEXT));
    serve.show_browser |= show;
    serve
}

/// Ctrl-C.
#[derive(Debug)]
pub struct Interrupted;

impl From<Interrupted> for CommandError {
    fn from(_: Interrupted) -> Self {
        interrupted(None)
    }
}

/// What comes of something, or Ctrl-C.
pub async fn interruptible<T>(work: impl Future<Output = T>) -> Result<T, Interrupted> {
    tokio::select! {
        result = work => Ok(result),
        _ = tokio::signal::ctrl_c() => Err(Interrupted),
    }
}

/// What to do after Ctrl-C.
fn interrupted(to_go_on: Option<String>) -> CommandError {
    CommandError::Usage(match to_go_on {
        Some(command) => format!("interrupted; the rounds that were over are kept: {command} goes on"),
        None => "interrupted before anything was measured".into(),
    })
}

/// The record of a run that a service keeps.
pub async fn record(client: &Client, id: &str) -> Result<Record, CommandError> {
    let json = client.benchmark_record(id).await?;
    let unread = |error: serde_json::Error| CommandError::Usage(format!("the service keeps runs otherwise: {error}"));
    serde_json::from_slice(&json).map_err(unread)
}
