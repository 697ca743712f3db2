// What node-hl7-client 3.2.0 makes of our acknowledgements. Started by node.sh. Every patient is synthetic.

import { execFileSync } from 'node:child_process';
import { strict as assert } from 'node:assert';
import { setTimeout as wait } from 'node:timers/promises';
import { Batch, Client, Message } from 'node-hl7-client';

const port = Number(process.env.MLLP_PORT);
const now = new Date().toISOString().replace(/[-:T]/g, '').slice(0, 14) + '+0000';

function header(code, event, control, processing = 'P') {
  const message = new Message({ messageHeader: { msh_9_1: code, msh_9_2: event, msh_10: control, msh_11_1: processing } });
  message.set('MSH.3', 'NODELAB');
  message.set('MSH.4', 'HOSP');
  return message;
}

function person(message, identifier) {
  const pid = message.addSegment('PID');
  pid.set('1', '1');
  pid.set('3.1', identifier);
  pid.set('3.4', 'HIS');
  pid.set('3.5', 'MR');
  pid.set('7', '19700101');
  pid.set('8', 'F');
  return message;
}

function result(control, identifier, value) {
  const message = person(header('ORU', 'R01', control), identifier);
  const obr = message.addSegment('OBR');
  obr.set('1', '1');
  obr.set('3', control);
  obr.set('4.1', '24325-3');
  obr.set('4.3', 'LN');
  obr.set('7', now);
  obr.set('25', 'F');
  const obx = message.addSegment('OBX');
  obx.set('1', '1');
  obx.set('2', 'NM');
  obx.set('3.1', '1975-2');
  obx.set('3.3', 'LN');
  obx.set('5', String(value));
  obx.set('6.1', 'mg/dL');
  obx.set('6.3', 'UCUM');
  obx.set('11', 'F');
  obx.set('14', now);
  return message;
}

// Sends one after another over one connection, each after the answer to the one before: this client
// leaves that to its caller.
async function exchange(...messages) {
  const client = new Client({ host: '127.0.0.1' });
  const answers = [];
  let arrived;
  const connection = client.createConnection({ port, waitAck: true }, (answer) => {
    const message = answer.getMessage();
    answers.push([message.get('MSA.1').toString(), message.get('MSA.2').toString(), message.get('ERR.3.1').toString()]);
    arrived?.();
  });
  connection.on('data.error', (error) => { throw error; });
  for (const message of messages) {
    const heard = new Promise((resolve) => { arrived = resolve; });
    await connection.sendMessage(message);
    await Promise.race([heard, wait(30_000, undefined, { ref: false }).then(() => { throw new Error('no answer within 30 s'); })]);
  }
  await connection.close();
  return answers;
}

function program(...args) {
  try {
    return execFileSync(process.env.BINARY, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    return error.stdout ?? '';
  }
}

// Each result of a person known by a number only has a subject of its own.
async function becomes(what, ask) {
  for (let n = 0; n < 150; n++) {
    if (ask()) return;
    await wait(200);
  }
  assert.fail(`${what}: it never came`);
}

function values() {
  const lines = program('subjects', '-o', 'ndjson').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  return lines.map((s) => Number(s.variables?.bilirubin_total?.value)).filter((v) => !Number.isNaN(v));
}

const tests = {
  async messages_are_accepted() {
    const sent = [person(header('ADT', 'A01', 'NODE-1'), 'SYN-N1'), result('NODE-2', 'SYN-N1', 4.1)];
    const answers = await exchange(...sent);
    assert.deepEqual(answers.map((a) => a.slice(0, 2)), [['AA', 'NODE-1'], ['AA', 'NODE-2']]);
    await becomes('the result', () => values().includes(4.1));
  },
  async a_repetition_is_accepted_once() {
    const message = result('NODE-3', 'SYN-N2', 5.2);
    const answers = await exchange(message, message);
    assert.deepEqual(answers.map((a) => a.slice(0, 2)), [['AA', 'NODE-3'], ['AA', 'NODE-3']]);
    await becomes('the result', () => values().includes(5.2));
    assert.equal(values().filter((v) => v === 5.2).length, 1);
  },
  async refusals_are_read() {
    const training = person(header('ADT', 'A01', 'NODE-4', 'T'), 'SYN-N3');
    const answers = await exchange(result('NODE-5', 'SYN-N3', 6.3), result('NODE-5', 'SYN-N3', 6.4), training);
    assert.deepEqual(answers, [['AA', 'NODE-5', ''], ['AE', 'NODE-5', '205'], ['AR', 'NODE-4', '202']]);
  },
  // Batches are for files: over MLLP each message is a frame of its own. The client learns that at once.
  async a_batch_is_refused_as_a_whole() {
    const batch = new Batch();
    batch.start();
    batch.add(result('NODE-6', 'SYN-N4', 7.5));
    batch.end();
    const answers = await exchange(batch);
    assert.equal(answers.length, 1);
    assert.equal(answers[0][0], 'AR');
    const kept = program('quarantine', 'list').split('\n').filter(Boolean).map((line) => JSON.parse(line));
    assert.ok(kept.length > 0, 'it is kept for people');
    assert.ok(!values().includes(7.5));
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    console.log(`test ${name} ... ok`);
  } catch (error) {
    failed += 1;
    console.log(`test ${name} ... FAILED\n${error.stack}`);
  }
}
const passed = Object.keys(tests).length - failed;
console.log(`test result: ${failed ? 'FAILED' : 'ok'}. ${passed} passed; ${failed} failed`);
process.exit(failed ? 1 : 0);
