//! Configuration: the only reader of flags, environment and file.
//!
//! A setting has one name: the flag `--max-batch` is the variable `WEBINFER_MAX_BATCH` and the key `max_batch` of the
//! TOML file. Flags win over variables, variables over the file, the file over the defaults.

use std::{collections::BTreeSet, ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::{browser, cli, execution};

/// A gRPC inference server whose accelerators are web browsers
#[derive(Debug, Parser)]
#[command(name = "webinfer", version, max_term_width = 110, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Mode,
}

/// What the program is to do.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Start the service: browsers, models, gRPC and HTTP
    Serve(Serve),
    /// Embed texts with a running service, or with one of its own (--local)
    Infer(cli::infer::Infer),
    /// Tell what is installed, what each browser can do, and what to install for more
    Doctor(cli::doctor::Doctor),
    /// Look after one browser
    #[command(hide = true)]
    Guard(browser::guard::Guard),
}

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub struct Serve {
    /// TOML file with settings; its keys are the flags' names with `_` for `-`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of the gRPC listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051", help_heading = "Listeners")]
    pub listen: SocketAddr,
    /// Address of the HTTP listener: /metrics, /live, /ready
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", help_heading = "Listeners")]
    pub http_listen: SocketAddr,

    /// Folder that holds the models, each in a folder in the Hub's layout
    #[arg(long, value_name = "FOLDER", default_value = "models", help_heading = "Models")]
    pub models: PathBuf,
    /// Model to load at the start; may be given several times; "none" for no model
    #[arg(long, value_name = "ID", default_value = "all-MiniLM-L6-v2", help_heading = "Models")]
    pub load: Vec<String>,
    /// Backend of models whose registration names none
    #[arg(long, value_enum, default_value = "wasm", help_heading = "Models")]
    pub backend: BackendName,
    /// WASM threads of a replica whose registration names none; 0 chooses by the cores
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Models")]
    pub threads: u32,
    /// Replicas of a model on WASM whose registration names none; 0 chooses by the cores
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64), help_heading = "Models")]
    pub replicas: u32,
    /// Models that may be registered
    #[arg(long, value_name = "COUNT", default_value_t = 256, help_heading = "Models")]
    pub max_models: usize,
    /// Largest model, all its files together
    #[arg(long, value_name = "BYTES", default_value_t = 2_147_483_648, help_heading = "Models")]
    pub max_model_bytes: u64,
    /// Time in which a replica has to be loaded
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, help_heading = "Models")]
    pub load_deadline: Duration,

    /// Browser: auto, chrome, chromium, edge, or the path of a program
    #[arg(long, value_name = "BROWSER", default_value = "auto", help_heading = "Browsers")]
    pub browser: browser::Wanted,
    /// Browsers to keep up
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Browsers")]
    pub browsers: u32,
    /// Open windows instead of running headless
    #[arg(long, help_heading = "Browsers")]
    pub show_browser: bool,
    /// Further argument for the browser's command line; may be given several times
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true, help_heading = "Browsers")]
    pub browser_arg: Vec<String>,
    /// User that browsers run as when the service runs as root
    #[arg(long, value_name = "NAME", default_value = "nobody", help_heading = "Browsers")]
    pub browser_user: String,
    /// Let browsers run without their sandbox: a page that breaks out then has all rights of its user
    #[arg(long, help_heading = "Browsers")]
    pub no_browser_sandbox: bool,
    /// Time in which a browser has to be up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Browsers")]
    pub browser_start_deadline: Duration,
    /// Time in which a started page or worker has to dial back
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration, help_heading = "Browsers")]
    pub dial_back_deadline: Duration,
    /// A page that is silent for this long is lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, help_heading = "Browsers")]
    pub heartbeat_deadline: Duration,

    /// Items that run in one call
    #[arg(long, value_name = "ITEMS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Requests")]
    pub max_batch: u32,
    /// Deadline of a call that has none
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, help_heading = "Requests")]
    pub default_deadline: Duration,
    /// A run that takes longer has a stuck worker, which is replaced
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration, help_heading = "Requests")]
    pub run_deadline: Duration,
    /// Largest message, either way
    #[arg(long, value_name = "BYTES", default_value_t = 33_554_432, help_heading = "Requests")]
    pub max_message_bytes: usize,
    /// Items of one request
    #[arg(long, value_name = "ITEMS", default_value_t = 1024, help_heading = "Requests")]
    pub max_request_items: usize,
    /// Bytes of one text
    #[arg(long, value_name = "BYTES", default_value_t = 262_144, help_heading = "Requests")]
    pub max_text_bytes: usize,
    /// Items that may be queued or run, over all callers
    #[arg(long, value_name = "ITEMS", default_value_t = 8192, help_heading = "Requests")]
    pub max_pending_items: usize,
    /// Bytes of items that may be queued or run, over all callers
    #[arg(long, value_name = "BYTES", default_value_t = 268_435_456, help_heading = "Requests")]
    pub max_pending_bytes: usize,
    /// HTTP/2 window of one stream
    #[arg(long, value_name = "BYTES", default_value_t = 4_194_304, help_heading = "Requests")]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection
    #[arg(long, value_name = "BYTES", default_value_t = 16_777_216, help_heading = "Requests")]
    pub connection_window_bytes: u32,
    /// Streams that one connection may have open
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, help_heading = "Requests")]
    pub max_concurrent_streams: u32,

    /// Time that admitted work has to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration, help_heading = "Service")]
    pub drain_deadline: Duration,
    /// What is logged to standard error, e.g. "info" or "webinfer=debug"
    #[arg(long, value_name = "FILTER", default_value = DEFAULT_LOG, help_heading = "Service")]
    pub log: String,

    /// This program, for the guards of browsers.
    #[arg(skip)]
    pub program: PathBuf,
    /// What PATH says.
    #[arg(skip)]
    pub search_path: Vec<PathBuf>,
}

/// What is logged where nothing was said. The library that speaks DevTools warns of each event that it does not know.
pub const DEFAULT_LOG: &str = "info,chromiumoxide=error";

/// Backends by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// WebAssembly, on the CPU
    Wasm,
    /// WebGPU
    Webgpu,
}

impl From<BackendName> for execution::Backend {
    fn from(name: BackendName) -> Self {
        match name {
            BackendName::Wasm => Self::Wasm,
            BackendName::Webgpu => Self::WebGpu,
        }
    }
}

/// Prefix of variables.
const PREFIX: &str = "WEBINFER_";

/// Reads the command line, the environment and the configuration file. Ends the program on `--help` and on mistakes.
pub fn read() -> Mode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let program = std::env::current_exe().unwrap_or_else(|_| "webinfer".into());
    let search_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    match parse(arguments, variables.collect(), program, search_path) {
        Ok(mode) => mode,
        Err(error) => error.exit(),
    }
}

/// What [`read`] does, from given arguments and variables.
pub fn parse(
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    program: PathBuf,
    search_path: Vec<PathBuf>,
) -> Result<Mode, clap::Error> {
    let command = Cli::command();
    check_variables(&command, &variables)?;
    let is_set = |name: &str| variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
    let command = command.mut_subcommands(|sub| {
        // The last of several wins, so that an alias or a script can be overridden.
        let sub = sub.args_override_self(true);
        if !sub.get_arguments().any(|arg| arg.get_id() == "config") {
            return sub;
        }
        // Variables become defaults, which flags override; the file's values come below them.
        sub.mut_args(|arg| match is_set(&variable(&arg)) {
            Some(value) if arg.get_long().is_some() => set_default(arg, vec![value]),
            _ => arg,
        })
    });
    let mut matches = command.clone().try_get_matches_from(&arguments)?;
    if let Some((name, sub)) = matches.subcommand()
        && let Some(file) = sub.try_get_one::<PathBuf>("config").ok().flatten()
    {
        let text =
            std::fs::read_to_string(file).map_err(|error| fail(&command, format!("{}: {error}", file.display())))?;
        let values =
            read_file(&command, name, &text).map_err(|error| fail(&command, format!("{}: {error}", file.display())))?;
        let command = command.clone().mut_subcommand(name, |sub| {
            sub.mut_args(|arg| match values.iter().find(|(id, _)| id == arg.get_id().as_str()) {
                Some((_, values)) if is_set(&variable(&arg)).is_none() => set_default(arg, values.clone()),
                _ => arg,
            })
        });
        matches = command.try_get_matches_from(&arguments)?;
    }
    let mut mode = Cli::from_arg_matches(&matches)?.command;
    if let Some(serve) = mode.serve_mut() {
        (serve.program, serve.search_path) = (program, search_path);
        check(serve).map_err(|message| fail(&command, message))?;
    }
    Ok(mode)
}

impl Mode {
    fn serve_mut(&mut self) -> Option<&mut Serve> {
        match self {
            Self::Serve(serve) => Some(serve),
            Self::Infer(infer) => Some(&mut infer.serve),
            Self::Doctor(doctor) => Some(&mut doctor.serve),
            Self::Guard(_) => None,
        }
    }
}

/// The settings as a whole.
fn check(serve: &Serve) -> Result<(), String> {
    if serve.listen == serve.http_listen && serve.listen.port() != 0 {
        return Err(format!("--listen and --http-listen are both {}; give them different ports", serve.listen));
    }
    if serve.max_text_bytes > serve.max_message_bytes {
        return Err("--max-text-bytes is above --max-message-bytes, so that no such text could ever come in".into());
    }
    if serve.max_message_bytes > serve.max_pending_bytes {
        return Err("--max-message-bytes is above --max-pending-bytes, so that such a message could never run".into());
    }
    let window = 1 << 16..1 << 31;
    if !window.contains(&serve.stream_window_bytes) || !window.contains(&serve.connection_window_bytes) {
        return Err("HTTP/2 windows must have 65,536 to 2,147,483,647 bytes".into());
    }
    if serve.max_request_items == 0 || serve.max_pending_items == 0 || serve.max_concurrent_streams == 0 {
        return Err("a limit of 0 would refuse everything".into());
    }
    Ok(())
}

fn variable(arg: &Arg) -> String {
    format!("{PREFIX}{}", arg.get_id().as_str().to_uppercase())
}

fn set_default(arg: Arg, values: Vec<OsString>) -> Arg {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        arg.default_value(values.into_iter().next().unwrap_or_default())
    } else {
        arg.default_values(values)
    }
}

/// Settings of the services: the arguments of `serve` that have a name.
fn settings(command: &Command) -> BTreeSet<String> {
    let serve = command.find_subcommand("serve");
    let arguments = serve.into_iter().flat_map(Command::get_arguments);
    arguments.map(|arg| arg.get_id().to_string()).filter(|id| id != "help").collect()
}

fn check_variables(command: &Command, variables: &[(String, OsString)]) -> Result<(), clap::Error> {
    let known: Vec<_> = settings(command).iter().map(|id| format!("{PREFIX}{}", id.to_uppercase())).collect();
    for (name, _) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if !known.contains(name) {
            let message = format!("the variable {name} is not a setting{}", nearest(name, known.iter()));
            return Err(fail(command, message));
        }
    }
    Ok(())
}

fn read_file(command: &Command, sub: &str, text: &str) -> Result<Vec<(String, Vec<OsString>)>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let known = settings(command);
    let sub = command.find_subcommand(sub).ok_or("no such command")?;
    let mut values = Vec::new();
    for (key, value) in table {
        if key == "config" || !known.contains(&key) {
            return Err(format!("{key:?} is not a setting{}", nearest(&key, known.iter())));
        }
        let single = |value: toml::Value| match value {
            toml::Value::String(text) => Ok(text.into()),
            toml::Value::Integer(number) => Ok(number.to_string().into()),
            toml::Value::Boolean(flag) => Ok(flag.to_string().into()),
            _ => Err(format!("{key:?} must be a string, a whole number, true or false")),
        };
        let arg = sub.get_arguments().find(|arg| arg.get_id() == key.as_str());
        let many = arg.is_some_and(|arg| matches!(arg.get_action(), ArgAction::Append));
        let given = match value {
            toml::Value::Array(list) if many => list.into_iter().map(single).collect::<Result<_, _>>()?,
            other => vec![single(other)?],
        };
        values.push((key, given));
    }
    Ok(values)
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    match known.min_by_key(|known| strsim::damerau_levenshtein(known, name)) {
        Some(known) => format!("; did you mean {known}?"),
        None => String::new(),
    }
}

fn fail(command: &Command, message: String) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, message + "\n").with_cmd(command)
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(86_400) => Ok(time),
        Ok(_) => Err("must be between 1ms and 24h".into()),
        Err(error) => Err(format!("{error}; write it like 500ms, 30s or 2m")),
    }
}

/// The README's table of settings.
pub fn table() -> String {
    let mut text = String::from("| Setting | Default | What it is |\n| --- | --- | --- |\n");
    let command = Cli::command();
    for arg in command.find_subcommand("serve").into_iter().flat_map(Command::get_arguments) {
        let (Some(long), Some(help)) = (arg.get_long(), arg.get_help()) else {
            continue;
        };
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(" ")) };
        text += &format!("| `--{long}` | {default} | {help} |\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, io::Write, time::Duration};

    use super::{Mode, Serve, parse};

    fn serve(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Serve, String> {
        let arguments = ["webinfer", "serve"].iter().chain(arguments).map(OsString::from).collect();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        match parse(arguments, variables, "webinfer".into(), Vec::new()).map_err(|error| error.to_string())? {
            Mode::Serve(serve) => Ok(serve),
            _ => Err("another mode".into()),
        }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults() {
        let file = file("max_batch = 3\nmax_models = 5\nbrowsers = 4\nload = ['a', 'b']\nshow_browser = true\n");
        let config = ["--config", file.path().to_str().unwrap()];
        let variables = [("WEBINFER_MAX_BATCH", "2"), ("WEBINFER_BROWSERS", "3")];
        let serve = serve(&[&config[..], &["--browsers", "2"]].concat(), &variables).unwrap();
        assert_eq!((serve.browsers, serve.max_batch, serve.max_models), (2, 2, 5));
        assert_eq!(serve.load, ["a", "b"]);
        assert!(serve.show_browser);
        assert_eq!(serve.drain_deadline, Duration::from_secs(30));
    }

    #[test]
    fn the_config_file_may_be_named_by_a_variable() {
        let file = file("max_batch = 3\n");
        let serve = serve(&[], &[("WEBINFER_CONFIG", file.path().to_str().unwrap())]).unwrap();
        assert_eq!(serve.max_batch, 3);
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let in_file = file("max_batsch = 3\n");
        let error = serve(&["--config", in_file.path().to_str().unwrap()], &[]).unwrap_err();
        assert!(error.contains("max_batsch") && error.contains("did you mean max_batch?"), "{error}");
        let error = serve(&[], &[("WEBINFER_BROWSER_ARGS", "x")]).unwrap_err();
        assert!(error.contains("did you mean WEBINFER_BROWSER_ARG?"), "{error}");
        let error = serve(&["--max-batsch", "3"], &[]).unwrap_err();
        assert!(error.contains("--max-batch"), "{error}");
    }

    #[test]
    fn values_are_checked_one_by_one_and_together() {
        for (arguments, word) in [
            (&["--max-batch", "0"][..], "max-batch"),
            (&["--listen", "here"], "listen"),
            (&["--drain-deadline", "soon"], "30s"),
            (&["--browser", "netscape"], "chromium"),
            (&["--listen", "127.0.0.1:8080"], "--http-listen"),
            (&["--max-message-bytes", "99999999999"], "--max-pending-bytes"),
            (&["--stream-window-bytes", "1"], "windows"),
        ] {
            let error = serve(arguments, &[]).unwrap_err();
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
        let wrong = file("max_batch = 'many'\n");
        let error = serve(&["--config", wrong.path().to_str().unwrap()], &[]).unwrap_err();
        assert!(error.contains("many"), "{error}");
    }
}
