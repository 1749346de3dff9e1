"""A member of a group: prints the values of COUNT records, commits after each, and leaves."""

import sys

from confluent_kafka import Consumer

bootstrap, topic, group, protocol, count = sys.argv[1:]
consumer = Consumer({
    "bootstrap.servers": bootstrap,
    "group.id": group,
    "group.protocol": protocol,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
})
consumer.subscribe([topic])
left = int(count)
while left > 0:
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error():
        sys.exit(str(message.error()))
    print(message.value().decode(), flush=True)
    consumer.commit(message, asynchronous=False)
    left -= 1
consumer.close()
