//! DescribeCluster (60), v0–2: cluster id, controller, brokers (KIP-700).
//!
//! v1 endpoint type: brokers or controllers (KIP-919) · v2 fenced brokers (KIP-1073)

use crate::list::List;
use crate::schema::wire;

wire! {
    /// What to include.
    request DescribeClusterRequest 60, 0..=2, flexible 0 {
        include_cluster_authorized_operations: bool,
        /// 1 brokers, 2 controllers; another than the listener's is MISMATCHED_ENDPOINT_TYPE.
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }

    /// The cluster as this node knows it.
    response DescribeClusterResponse<'a> 60, 0..=2, flexible 0 {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<&'a str> = None,
        /// 1 brokers, 2 controllers; another than the listener's is MISMATCHED_ENDPOINT_TYPE.
        endpoint_type: i8 [1..] = 1,
        cluster_id: &'a str,
        /// −1 for none.
        controller_id: i32 = -1,
        brokers: List<'a, DescribeClusterBroker<'a>>,
        /// Bits by ACL operation code; `i32::MIN` when not asked for.
        cluster_authorized_operations: i32 = i32::MIN,
    }

    /// A broker, or with endpoint type 2 a controller.
    struct DescribeClusterBroker<'a> {
        broker_id: i32,
        host: &'a str,
        port: i32,
        rack: Option<&'a str> = None,
        is_fenced: bool [2..],
    }
}
