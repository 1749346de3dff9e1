//! The resource BROKER_LOGGER: levels of what this broker logs. They are the process's own, so no
//! controller is asked, and they are forgotten when it ends.

use std::borrow::Cow;

use config::alter::Op;
use replication::controller::configs::{self, ConfigsChange};
use replication::image::ConfigResource;
use wire::error_code::ErrorCode;
use wire::msg::describe_configs::DescribeConfigsResourceResult;

use super::Cx;
use super::authz::Operation;
use super::errors::Failure;
use crate::loggers::{LOGGERS, Loggers, ROOT, Severity};

/// Every logger with the level that is in force, as DescribeConfigs tells it.
pub(super) fn describe(cx: &Cx) -> Vec<DescribeConfigsResourceResult<'static>> {
    let Some(loggers) = &cx.core.node.loggers else { return Vec::new() };
    let told = LOGGERS.iter().map(|name| DescribeConfigsResourceResult {
        name,
        value: Some(loggers.level(name).name()),
        config_source: config::Source::DynamicLogger.id(),
        ..DescribeConfigsResourceResult::default()
    });
    told.collect()
}

/// Carries out operations on the loggers of the broker that the resource names: this one.
pub(super) fn alter(
    cx: &Cx,
    resource: &ConfigResource,
    change: &ConfigsChange,
    validate_only: bool,
) -> Result<(), Failure> {
    cx.permits_config(Operation::AlterConfigs, resource).map_err(Failure::bare)?;
    configs::check_keys(change).map_err(Failure::from)?;
    configs::check_broker_name(cx.core.node.id, &resource.name).map_err(Failure::from)?;
    let ConfigsChange::Incremental(operations) = change else {
        return Err(invalid_request("Unknown resource type BROKER_LOGGER"));
    };
    let loggers = cx.core.node.loggers.as_deref();
    let changes = operations
        .iter()
        .map(|(name, op, value)| {
            check(loggers, name, Op::from_id(*op).expect("checked with the keys"), value.as_deref())
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(loggers) = loggers.filter(|_| !validate_only) {
        loggers.set(&changes);
        for (name, level) in changes {
            let level = level.map_or("that of the logger above", Severity::name);
            tracing::warn!(logger = name, level, "the level of what is logged was changed");
        }
    }
    Ok(())
}

fn check<'a>(
    loggers: Option<&dyn Loggers>,
    name: &'a str,
    op: Op,
    level: Option<&str>,
) -> Result<(&'a str, Option<Severity>), Failure> {
    let known = || match loggers.is_some() && LOGGERS.contains(&name) {
        true => Ok(()),
        false => Err(invalid_config(format!("Logger {name} does not exist!"))),
    };
    let not_of_loggers = |op: &str| {
        Err(invalid_request(format!(
            "{op} operation is not allowed for the BROKER_LOGGER resource"
        )))
    };
    match op {
        Op::Set => {
            known()?;
            let level = level.unwrap_or_default();
            let found = Severity::named(level).ok_or_else(|| {
                invalid_config(format!(
                    "Cannot set the log level of {name} to {level} as it is not a supported log \
                     level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"
                ))
            })?;
            Ok((name, Some(found)))
        }
        Op::Delete => {
            known()?;
            if name == ROOT {
                let text = "Removing the log level of the root logger is not allowed";
                return Err(invalid_request(text));
            }
            Ok((name, None))
        }
        Op::Append => not_of_loggers("APPEND"),
        Op::Subtract => not_of_loggers("SUBTRACT"),
    }
}

fn invalid_config(text: String) -> Failure {
    Failure::new(ErrorCode::INVALID_CONFIG, text)
}

fn invalid_request(text: impl Into<Cow<'static, str>>) -> Failure {
    Failure::new(ErrorCode::INVALID_REQUEST, text)
}
