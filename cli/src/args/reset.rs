//! Where a group's offsets go, as `odradek group reset` and `kafka-consumer-groups` take it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::client::reset::Target;
use crate::client::times;

/// Where a group's offsets go: one of these.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub(crate) struct ResetTo {
    /// To the oldest record kept.
    #[arg(long)]
    pub(crate) to_earliest: bool,
    /// Behind the newest record.
    #[arg(long)]
    pub(crate) to_latest: bool,
    /// To where the group is; to the end where it is nowhere.
    #[arg(long)]
    pub(crate) to_current: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    pub(crate) to_offset: Option<i64>,
    /// On by so many, or back by a negative number.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) shift_by: Option<i64>,
    /// To the first record of this time or later, YYYY-MM-DDThh:mm:ss.sss with Z or ±hh:mm or in
    /// UTC.
    #[arg(long, value_name = "TIME")]
    pub(crate) to_datetime: Option<String>,
    /// To the first record that is not older than this, PnDTnHnMnS.
    #[arg(long, value_name = "DURATION")]
    pub(crate) by_duration: Option<String>,
    /// As this file says, line by line: topic,partition,offset or group,topic,partition,offset.
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
}

impl ResetTo {
    /// The names of those that are given, in Kafka's order.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let all = [
            ("by-duration", self.by_duration.is_some()),
            ("to-datetime", self.to_datetime.is_some()),
            ("from-file", self.from_file.is_some()),
            ("shift-by", self.shift_by.is_some()),
            ("to-offset", self.to_offset.is_some()),
            ("to-earliest", self.to_earliest),
            ("to-current", self.to_current),
            ("to-latest", self.to_latest),
        ];
        all.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect()
    }

    /// The target for all groups; none where there is none but perhaps a file.
    pub(crate) fn target(&self) -> Result<Option<Target>> {
        Ok(Some(match self {
            Self { to_earliest: true, .. } => Target::Earliest,
            Self { to_latest: true, .. } => Target::Latest,
            Self { to_current: true, .. } => Target::Current,
            Self { to_offset: Some(offset), .. } => Target::Offset(*offset),
            Self { shift_by: Some(by), .. } => Target::ShiftBy(*by),
            Self { to_datetime: Some(time), .. } => Target::Time(times::moment(time)?),
            Self { by_duration: Some(span), .. } => {
                Target::Time(times::now_ms().saturating_sub(times::span(span)?))
            }
            _ => return Ok(None),
        }))
    }
}
