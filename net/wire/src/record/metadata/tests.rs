use super::*;
use crate::error::DecodeFault;

fn bytes(record: impl Into<MetadataRecord>, version: i16) -> Vec<u8> {
    record.into().to_bytes(version).unwrap()
}

#[test]
fn frames_are_kafkas() {
    assert_eq!(bytes(NoOpRecord {}, 0), [0x01, 0x14, 0x00, 0x00]);
    let level = FeatureLevelRecord { name: "group.version".into(), feature_level: 1 };
    assert_eq!(bytes(level, 0), b"\x01\x0c\x00\x0egroup.version\x00\x01\x00");
    let begin = BeginTransactionRecord { name: Some("Bootstrap records".into()) };
    assert_eq!(bytes(begin, 0), b"\x01\x17\x00\x01\x00\x12\x12Bootstrap records");
}

#[test]
fn every_record_comes_back_in_every_version() {
    let samples = MetadataRecord::samples();
    assert_eq!(samples.len(), 26);
    for record in samples {
        for version in 0..=record.max_version() {
            let bytes = record.to_bytes(version).unwrap();
            assert_eq!(MetadataRecord::decode(&bytes), Ok((record.clone(), version)));
        }
    }
}

#[test]
fn what_is_not_known_is_named() {
    assert_eq!(MetadataRecord::decode(&[1, 29, 0, 0]), Err(MetadataRecordError::UnknownType(29)));
    assert_eq!(
        MetadataRecord::decode(&[0, 20, 0, 0]),
        Err(MetadataRecordError::UnknownFrameVersion(0))
    );
    assert_eq!(
        MetadataRecord::decode(&[1, 3, 3, 0]).unwrap_err().to_string(),
        "PartitionRecord has version 3, the newest known is 2"
    );
    let trailing = MetadataRecord::decode(&[1, 20, 0, 0, 9]).unwrap_err();
    assert_eq!(
        trailing,
        MetadataRecordError::Invalid { name: "NoOpRecord", error: DecodeFault::Trailing(1).into() }
    );
    assert!(MetadataRecord::decode(&[]).is_err());
}

#[test]
fn versions_follow_the_metadata_version() {
    let broker = MetadataRecord::from(RegisterBrokerRecord::default());
    assert_eq!([7, 8, 17, 29, 30].map(|level| broker.version_at(level)), [1, 2, 3, 3, 4]);
    let partition = MetadataRecord::from(PartitionRecord::default());
    assert_eq!([7, 17, 22, 23, 30].map(|level| partition.version_at(level)), [0, 1, 1, 2, 2]);
}

#[test]
fn a_registration_change_takes_the_lowest_version() {
    let fence = BrokerRegistrationChangeRecord { fenced: 1, ..Default::default() };
    assert_eq!(fence.lowest_version(), 0);
    let stop = BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..fence };
    assert_eq!(stop.lowest_version(), 1);
    let dirs = BrokerRegistrationChangeRecord { log_dirs: vec![Uuid::ONE], ..Default::default() };
    assert_eq!(dirs.lowest_version(), 2);
    let cordoned =
        BrokerRegistrationChangeRecord { cordoned_log_dirs: Some(vec![]), ..Default::default() };
    assert_eq!(cordoned.lowest_version(), 3);
    assert!(MetadataRecord::from(cordoned).to_bytes(2).is_err());
}
