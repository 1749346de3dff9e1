// A member of a group: prints the values of COUNT records, commits after each, and leaves.
const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, topic, group, , count] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR })
const consumer = kafka.consumer({ groupId: group })
let left = Number(count)

const take = async ({ topic, partition, message }) => {
  if (left === 0) return
  console.log(message.value.toString())
  const offset = (BigInt(message.offset) + 1n).toString()
  await consumer.commitOffsets([{ topic, partition, offset }])
  left -= 1
  if (left === 0) {
    setImmediate(() => consumer.disconnect().then(() => process.exit(0)))
  }
}

const main = async () => {
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: take })
}
main().catch((error) => {
  console.error(error)
  process.exit(1)
})
