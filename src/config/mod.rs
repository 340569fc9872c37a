//! Configuration: the only reader of flags, environment and file.
//!
//! A setting has one name: the flag `--max-batch` is the variable `WEBINFER_MAX_BATCH` and the key `max_batch` of the
//! TOML file. Flags win over variables, variables over the file, the file over the defaults.

mod hub;
mod settings;

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand, builder::BoolishValueParser};

pub use hub::Hub;
pub use settings::{DEFAULT_LOG, LogFormat, SECRETS, Serve, duration};

use crate::{browser, cli};

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
    /// Run a model on texts, pictures or sound, with a running service or one of its own (--local)
    Infer(Box<cli::infer::Infer>),
    /// Tell what is installed, what each browser can do, and what to install for more
    Doctor(cli::doctor::Doctor),
    /// Run a model under the runtime's profiler, in a running service, and show where the time goes
    Profile(Box<cli::profile::Profile>),
    /// Show and steer the browsers of a running service
    Pool(cli::pool::Pool),
    /// Watch a running service: what is slow, what is broken, and what really runs
    Top(cli::top::Top),
    /// Measure models across browsers, backends and precisions, and keep and compare what was found; or load a service
    #[command(subcommand)]
    Bench(cli::bench::Bench),
    /// Tell where a model's requests go, and why
    Explain(cli::explain::Explain),
    /// Look after the folder of models: what is there, more from the Hub, whether it is whole, smaller graphs
    Models(Box<cli::models::Models>),
    /// Look after one browser
    #[command(hide = true)]
    Guard(browser::guard::Guard),
}

/// Settings of `serve` that the help of the other commands shows too; all of them can be given.
const SHOWN_ELSEWHERE: [&str; 5] = ["config", "models", "browser", "show_browser", "backend"];

fn command() -> Command {
    let command = Cli::command();
    let settings = names(&command);
    let hide = |sub: Command| {
        sub.mut_args(|arg| {
            let id = arg.get_id().as_str();
            let hidden = settings.contains(id) && !SHOWN_ELSEWHERE.contains(&id);
            arg.hide(hidden)
        })
    };
    command.mut_subcommand("infer", hide).mut_subcommand("doctor", hide)
}

/// Prefix of variables.
const PREFIX: &str = "WEBINFER_";
/// The variable of the commands that call a service. The Python client reads it, too.
const ADDRESS: &str = "WEBINFER_ADDRESS";

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
    let command = command();
    check_variables(&command, &variables)?;
    let is_set = |name: &str| variables.iter().find(|(set, _)| set == name).map(|(_, value)| value.clone());
    let command = at_address(command, is_set(ADDRESS).as_deref()).mut_subcommands(|sub| {
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
            read_file(&command, &text).map_err(|error| fail(&command, format!("{}: {error}", file.display())))?;
        let command = command.clone().mut_subcommand(name, |sub| {
            sub.mut_args(|arg| match values.iter().find(|(id, _)| id == arg.get_id().as_str()) {
                Some((_, values)) if is_set(&variable(&arg)).is_none() => set_default(arg, values.clone()),
                _ => arg,
            })
        });
        matches = command.try_get_matches_from(&arguments)?;
    }
    let mut mode = Cli::from_arg_matches(&matches)?.command;
    if let Mode::Bench(bench) = &mut mode
        && let Some(own) = bench.own_service()
    {
        // It has the settings of `serve`, which are read as such.
        let arguments = ["webinfer", "serve"].into_iter().map(OsString::from).chain(own.arguments()).collect();
        if let Mode::Serve(serve) = parse(arguments, variables, program, search_path)? {
            own.serve = Some(Box::new(serve));
        }
        return Ok(mode);
    }
    if let Some(serve) = mode.serve_mut() {
        (serve.program, serve.search_path) = (program, search_path);
        serve.state_folder = state_folder(is_set);
        serve.display = !cfg!(target_os = "linux") || is_set("DISPLAY").or(is_set("WAYLAND_DISPLAY")).is_some();
        settings::check(serve).map_err(|message| fail(&command, message))?;
    }
    Ok(mode)
}

/// Where the XDG Base Directory Specification has the state of programs; a relative path there counts as none.
fn state_folder(is_set: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| is_set(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))
}

impl Mode {
    fn serve_mut(&mut self) -> Option<&mut Serve> {
        match self {
            Self::Serve(serve) => Some(serve),
            Self::Infer(infer) => Some(&mut infer.serve),
            Self::Doctor(doctor) => Some(&mut doctor.serve),
            Self::Profile(_) | Self::Pool(_) | Self::Top(_) | Self::Explain(_) | Self::Bench(_) => None,
            Self::Models(_) | Self::Guard(_) => None,
        }
    }
}

/// Has the commands that call a service call this one by default.
fn at_address(command: Command, address: Option<&OsStr>) -> Command {
    let Some(address) = address else { return command };
    let command = command.mut_args(|arg| {
        let calls = arg.get_id() == "address" && !arg.get_default_values().is_empty();
        if calls { arg.default_value(address.to_owned()) } else { arg }
    });
    command.mut_subcommands(|sub| at_address(sub, Some(address)))
}

fn variable(arg: &Arg) -> String {
    format!("{PREFIX}{}", arg.get_id().as_str().to_uppercase())
}

fn set_default(arg: Arg, values: Vec<OsString>) -> Arg {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        arg.value_parser(BoolishValueParser::new()).default_value(values.into_iter().next().unwrap_or_default())
    } else {
        arg.default_values(values)
    }
}

/// All settings: the arguments of `serve`, and those of `models` about the Hub.
fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let of = |sub: &str| command.find_subcommand(sub).into_iter().flat_map(Command::get_arguments);
    of("serve").chain(of("models").filter(|arg| arg.get_help_heading() == Some(hub::HEADING)))
}

fn names(command: &Command) -> BTreeSet<String> {
    settings(command).map(|arg| arg.get_id().to_string()).filter(|id| id != "help").collect()
}

fn check_variables(command: &Command, variables: &[(String, OsString)]) -> Result<(), clap::Error> {
    let known: Vec<_> = names(command).iter().map(|id| format!("{PREFIX}{}", id.to_uppercase())).collect();
    for (name, _) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if !known.contains(name) && name != ADDRESS {
            let message = format!("the variable {name} is not a setting{}", nearest(name, known.iter()));
            return Err(fail(command, message));
        }
    }
    Ok(())
}

fn read_file(command: &Command, text: &str) -> Result<Vec<(String, Vec<OsString>)>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let known = names(command);
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
        let arg = settings(command).find(|arg| arg.get_id() == key.as_str());
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

/// The documentation's table of settings.
pub fn table() -> String {
    let mut text = String::from("| Setting | Default | What it is |\n| --- | --- | --- |\n");
    let command = command();
    for arg in settings(&command) {
        let (Some(long), Some(help)) = (arg.get_long(), arg.get_help()) else {
            continue;
        };
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(" ")) };
        // Those of a switch, true and false, are not shown.
        let one_of = if arg.get_action().takes_values() { arg.get_possible_values() } else { Vec::new() };
        let one_of: Vec<_> = one_of.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let one_of = if one_of.is_empty() { String::new() } else { format!(": {}", one_of.join(", ")) };
        text += &format!("| `--{long}` | {default} | {help}{one_of} |\n");
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
    fn one_file_has_the_settings_of_the_service_and_of_the_hub() {
        let file = file(
            "max_batch = 3\nmodels = 'here'\nhub_endpoint = 'https://mirror.example'\nhub_host = ['*.cdn.example']\n",
        );
        let config = ["--config", file.path().to_str().unwrap()];
        assert_eq!(serve(&config, &[]).unwrap().max_batch, 3);
        let hub = |arguments: &[&str], variables: &[(&str, &str)]| {
            let arguments = ["webinfer", "models"].iter().chain(arguments).map(OsString::from).collect();
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
            match parse(arguments, variables, "webinfer".into(), Vec::new()).map_err(|error| error.to_string())? {
                Mode::Models(models) => Ok(models.hub),
                _ => Err("another mode".to_owned()),
            }
        };
        // After the command or before it.
        for arguments in [["list", "--config", config[1]], ["--config", config[1], "list"]] {
            let hub = hub(&arguments, &[("WEBINFER_MODELS_QUOTA", "7")]).unwrap();
            assert_eq!((hub.models, hub.models_quota), ("here".into(), 7));
            assert_eq!((hub.hub_endpoint.to_string(), hub.hub_host.len()), ("https://mirror.example".into(), 1));
        }
        let given = hub(&["list", "--hub-endpoint", "http://127.0.0.1:1"], &[("WEBINFER_HUB_ENDPOINT", "https://h")]);
        assert_eq!(given.unwrap().hub_endpoint.to_string(), "http://127.0.0.1:1");
        for wrong in [["list", "--hub-endpoint", "https://user:word@h"], ["list", "--hub-host", "*"]] {
            assert!(hub(&wrong, &[]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_config_file_may_be_named_by_a_variable() {
        let file = file("max_batch = 3\n");
        let serve = serve(&[], &[("WEBINFER_CONFIG", file.path().to_str().unwrap())]).unwrap();
        assert_eq!(serve.max_batch, 3);
    }

    #[test]
    fn the_state_folder_is_where_the_user_has_it() {
        let folder = |variables: &[(&str, &str)]| serve(&[], variables).unwrap().state_folder;
        let absolute = if cfg!(windows) { "C:\\x" } else { "/x" };
        assert_eq!(folder(&[("XDG_STATE_HOME", absolute), ("HOME", "/y")]), Some(absolute.into()));
        assert_eq!(
            folder(&[("XDG_STATE_HOME", "x"), ("HOME", absolute)]),
            Some(std::path::Path::new(absolute).join(".local/state"))
        );
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn variables_hold_lists_and_switches_as_people_write_them() {
        let variables = [("WEBINFER_LOAD", "a,b"), ("WEBINFER_BROWSER", "chromium,firefox"), ("WEBINFER_DEBUG", "1")];
        let serve = serve(&["--guess", "*=edge"], &variables).unwrap();
        assert_eq!((serve.load, serve.browser.len(), serve.guess.len()), (vec!["a".to_owned(), "b".to_owned()], 2, 1));
        assert!(serve.debug);
    }

    #[test]
    fn a_service_to_call_may_be_named_by_a_variable() {
        let parsed = |arguments: &[&str]| {
            let arguments = ["webinfer"].iter().chain(arguments).map(OsString::from).collect();
            let variables = vec![("WEBINFER_ADDRESS".to_owned(), "there:1".into())];
            format!("{:?}", parse(arguments, variables, "webinfer".into(), Vec::new()).unwrap())
        };
        for command in [&["top"][..], &["pool"], &["pool", "log"], &["infer", "x"], &["bench", "load", "--model", "m"]]
        {
            assert!(parsed(command).contains("there:1"), "{command:?}: {}", parsed(command));
        }
        assert!(!parsed(&["top", "--address", "here:1"]).contains("there:1"));
        parsed(&["infer", "--local", "x"]);
        parsed(&["serve"]);
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
