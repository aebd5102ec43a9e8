--- What is done in Redis: the protocol of `asyncio.distributed`, as scripts for its Lua (5.1; they also run
-- under ours). Each runs as a whole or not at all, so what two workers, or a worker and a cancellation, do at
-- the same time has an order.
--
-- A queue Q lives under `asyncio:{Q}:`. Its keys:
--
-- * `high`, `normal`, `low`: streams of what waits or runs, an entry for each job (`id`, `lease` in ms).
-- Whoever   reads one in the group `workers` owns the job, until another claims it after its lease: the
-- group's   list of pending entries says who, and how often it was delivered. Owner and that number are the
-- fence:   who comes with others has lost the job, and what he says of it is not heard.
-- * `job:ID`: what is known of a job, MessagePack: the array { entry, facts, call }. With its result it
-- expires.
-- * `delayed`: a sorted set, ids by when they are due, on Redis' clock.
-- * `key:KEY`: the id of the job that has this key.
-- * `once:ID`: a hash, what `job:once` keeps.
-- * `answers:EXECUTOR`: a stream of what an executor waits for; it expires after the executor.
-- * `bell`: a sorted set from which idle workers pop, BZPOPMIN: each member wakes one, `delay` for a timer.
-- * `dead`: a list of ids that were given up, the newest first.
-- * `cancels`: a set of running jobs that are to end, and a channel that says so at once.
-- * `workers`: a sorted set, names by when they were last heard of. `stats`: a hash of numbers,
-- and of the time of the last look for what was left behind.
-- * `waiting`: a set of executors that wait for room.
--
-- All are found from KEYS[1], `asyncio:{Q}:`, so that they stand on one server of a cluster.
-- @module asyncio.distributed.scripts
local PRELUDE = [==[
local unpack = unpack or table.unpack
local call, pack, base = redis.call, cmsgpack.pack, KEYS[1]
local STREAMS = { 'high', 'normal', 'low' }
local DEAD, OPEN = 1000, { queued = true, delayed = true }
local LETTERS = { done = 'd', failed = 'f', cancelled = 'c', dead = 'x' }

local function now()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function parse(raw)
  local ok, job = pcall(cmsgpack.unpack, raw)
  if not ok or type(job) ~= 'table' or type(job[2]) ~= 'table' then return nil end
  if type(job[2].id) ~= 'string' or type(job[2].state) ~= 'string' then return nil end
  return job
end

local function load(id)
  local raw = call('GET', base .. 'job:' .. id)
  return raw and parse(raw), raw
end

local function store(job)
  call('SET', base .. 'job:' .. job[2].id, pack(job))
end

local function words(code, text) -- as an error crosses: { 1, classes, fields, text, traceback }
  return pack({ 1, { code, 'Error' }, { message = text }, code .. ': ' .. text, '' })
end

local letters, order = {}, {}
local function tell(to, id, what)
  for _, name in ipairs(to or {}) do
    local letter = letters[name]
    if not letter then
      letter = {}
      letters[name] = letter
      order[#order + 1] = name
    end
    letter[#letter + 1], letter[#letter + 2] = id, what
  end
end

local function send()
  for _, name in ipairs(order) do
    call('XADD', base .. 'answers:' .. name, 'NOMKSTREAM', '*', unpack(letters[name]))
  end
end

local function ring(n)
  if n == 0 then return end
  local list = {}
  for i = 1, math.min(n, 16) do
    list[#list + 1] = 0
    list[#list + 1] = i
  end
  call('ZADD', base .. 'bell', unpack(list))
end

local function read_pending(reply, list)
  for _, e in ipairs(reply.err and {} or reply) do
    list[e[1]] = { owner = e[2], idle = e[3], count = e[4] }
  end
  return list
end

local owned = {} -- by stream: by entry, what this consumer has
local function own(me, p, entry)
  if not owned[p] then
    owned[p] = read_pending(redis.pcall('XPENDING', base .. p, 'workers', '-', '+', 10000, me), {})
  end
  return owned[p][entry]
end

local gone = { high = {}, normal = {}, low = {} }
local function remove(p, entry) table.insert(gone[p], entry) end

local function sweep()
  for p, list in pairs(gone) do
    if list[1] then
      redis.pcall('XACK', base .. p, 'workers', unpack(list))
      call('XDEL', base .. p, unpack(list))
    end
  end
end

local counted = {}
local function count(what) counted[what] = (counted[what] or 0) + 1 end

local function note_counts()
  for what, n in pairs(counted) do call('HINCRBY', base .. 'stats', what, n) end
end

local function bury(id)
  if call('LPUSH', base .. 'dead', id) > DEAD then
    local old = call('RPOP', base .. 'dead')
    if old then call('PEXPIRE', base .. 'job:' .. old, 3600000) end
  end
end

local function finish(job, state, result)
  local facts, to = job[2], job[2].to
  local id, ttl = facts.id, facts.ttl or 3600000
  if facts.cancel then call('SREM', base .. 'cancels', id) end
  job[1], facts.state, facts.result = '', state, result
  facts.to, facts.cancel, facts.reserved = nil, nil, nil
  if state == 'failed' or state == 'dead' then
    store(job)
    bury(id)
  else
    job[3] = ''
    call('SET', base .. 'job:' .. id, pack(job), 'PX', ttl)
  end
  if facts.key and call('GET', base .. 'key:' .. facts.key) == id then
    call('PEXPIRE', base .. 'key:' .. facts.key, ttl)
  end
  if facts.once then call('PEXPIRE', base .. 'once:' .. id, ttl) end
  count(state)
  tell(to, id, LETTERS[state] .. result)
end

local function enter(job) -- into its stream
  local facts = job[2]
  job[1] = call('XADD', base .. facts.p, '*', 'id', facts.id, 'lease', facts.lease)
  facts.state = 'queued'
end

local function delay(job, ms)
  job[1], job[2].state = '', 'delayed'
  call('ZADD', base .. 'delayed', now() + ms, job[2].id)
  call('ZADD', base .. 'bell', 0, 'delay')
end

local function room_is_made()
  if not (next(counted) and call('EXISTS', base .. 'waiting') == 1) then return end
  tell(call('SPOP', base .. 'waiting', 100), '', 'room')
end

local function add_listener(facts, name)
  facts.to = facts.to or {}
  for _, other in ipairs(facts.to) do
    if other == name then return end
  end
  table.insert(facts.to, name)
end
]==]

local scripts = {}

--- Stores jobs. ARGV: executor, max_queue (0: none); then for each: id, facts and call as MessagePack,
-- priority, lease, delay in ms, key or "". Reply, for each: "+" it is stored, "-" there is no room, "=ID" it
-- has joined that.
scripts.submit = [==[
local me, most = ARGV[1], tonumber(ARGV[2])
local replies, rung, full, n = {}, 0, false, 0
if most > 0 then
  n = call('ZCARD', base .. 'delayed')
  for _, p in ipairs(STREAMS) do n = n + call('XLEN', base .. p) end
end

local function join(key, id)
  local other = call('GET', base .. 'key:' .. key)
  if not other or other == id then return nil end
  local job = load(other)
  if not job then return nil end
  if OPEN[job[2].state] then
    add_listener(job[2], me)
    store(job)
  else
    tell({ me }, other, LETTERS[job[2].state] .. job[2].result)
  end
  return other
end

local function add(id, rest, p, lease, wait, key)
  local entry = ''
  if wait == 0 then entry = call('XADD', base .. p, '*', 'id', id, 'lease', lease) end
  if call('SET', base .. 'job:' .. id, '\147' .. pack(entry) .. rest, 'NX') then
    n = n + 1
    if key ~= '' then call('SET', base .. 'key:' .. key, id) end
    if wait == 0 then rung = rung + 1 else
      call('ZADD', base .. 'delayed', now() + wait, id)
      call('ZADD', base .. 'bell', 0, 'delay')
    end
  elseif wait == 0 then
    call('XDEL', base .. p, entry) -- it was stored already, and the answer was lost
  end
end

for i = 3, #ARGV, 6 do
  local id, key = ARGV[i], ARGV[i + 5]
  local other = key ~= '' and join(key, id)
  if other then
    replies[#replies + 1] = '=' .. other
  elseif most > 0 and n >= most and call('EXISTS', base .. 'job:' .. id) == 0 then
    replies[#replies + 1], full = '-', true
  else
    add(id, ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4]), key)
    replies[#replies + 1] = '+'
  end
end
if full then call('SADD', base .. 'waiting', me) end
ring(rung)
send()
return replies
]==]

--- What a worker has to say and to ask: how jobs have ended, and as many new ones as it has room for. ARGV:
-- worker, room, number of ends; for each: stream, entry, delivery, id, what (`done failed cancelled dead`
-- with the result, `retry` with the error, `back`), result, ms to wait; for a job that does not parse the
-- result is its error. Reply: { for each end, whether it was heard (1, or 0: another has it) }, { stream,
-- entry, delivery, id, job, ... }, whether there may be more.
scripts.turn = [==[
local me, room, ends = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local heard, rung, moved = {}, 0, 0

local function take_back(job)
  if job[2].cancel then return finish(job, 'cancelled', '') end
  return true
end

local function settle(job, id, what, result, wait, times)
  job[2].base = (job[2].base or 0) + times
  if what == 'retry' or what == 'back' then
    if not take_back(job) then return end
    local facts = job[2]
    if what == 'retry' then
      facts.tries = (facts.tries or 0) + 1
      facts.errors = facts.errors or {}
      table.insert(facts.errors, result)
    end
    facts.reserved = nil
    if wait > 0 then delay(job, wait) else
      enter(job)
      rung = rung + 1
    end
    store(job)
  else
    finish(job, what, result)
  end
end

local function unreadable(id, raw) -- somebody else's, or of a later version
  return { '', { id = id, name = '?', p = 'normal', lease = 30000, state = 'queued', raw = raw }, '' }
end

for k = 1, ends do
  local i = 4 + (k - 1) * 7
  local p, entry, id = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local mine = own(me, p, entry)
  heard[k] = 0
  if mine and mine.count == tonumber(ARGV[i + 2]) then
    local job, raw = load(id)
    if not job and ARGV[i + 4] == 'dead' then job = unreadable(id, raw or '') end
    if job and OPEN[job[2].state] then
      settle(job, id, ARGV[i + 4], ARGV[i + 5], tonumber(ARGV[i + 6]), mine.count)
      heard[k] = 1
    end
    remove(p, entry)
  end
end

local taken, more = {}, 0

local function id_of(fields)
  for i = 1, #fields - 1, 2 do
    if fields[i] == 'id' then return fields[i + 1] end
  end
end

local function read_group(p)
  local got = redis.pcall('XREADGROUP', 'GROUP', 'workers', me, 'COUNT', room, 'STREAMS', base .. p, '>')
  if got and got.err then
    call('XGROUP', 'CREATE', base .. p, 'workers', 0, 'MKSTREAM')
    got = call('XREADGROUP', 'GROUP', 'workers', me, 'COUNT', room, 'STREAMS', base .. p, '>')
  end
  return got and got[1] and got[1][2] or {}
end

-- Was lost twice, and given back since: `claim` finds it, and whoever can run it alone gets it. This delivery
-- is no attempt.
local function reserve(p, entry, job)
  job[2].reserved, job[2].base = true, (job[2].base or 0) - 1
  store(job)
  call('XCLAIM', base .. p, 'workers', me, 0, entry, 'IDLE', job[2].lease, 'JUSTID')
end

local function hand_out(p, entry, id, raw)
  local job = raw and parse(raw)
  if not raw or job and (job[2].state ~= 'queued' or job[1] ~= entry) then return remove(p, entry) end
  if job and job[2].cancel then
    remove(p, entry)
    return finish(job, 'cancelled', '')
  end
  if job and (job[2].lost or 0) >= 2 then return reserve(p, entry, job) end
  local n = #taken
  taken[n + 1], taken[n + 2], taken[n + 3], taken[n + 4], taken[n + 5] = p, entry, 1, id, raw
  room = room - 1
end

for _, p in ipairs(STREAMS) do
  if room <= 0 then break end
  local asked, entries, keys = room, read_group(p), {}
  for i, e in ipairs(entries) do keys[i] = base .. 'job:' .. (id_of(e[2] or {}) or '') end
  local raws = keys[1] and call('MGET', unpack(keys)) or {}
  for i, e in ipairs(entries) do
    local id = id_of(e[2] or {})
    if id then hand_out(p, e[1], id, raws[i]) else hand_out(p, e[1], 'entry-' .. e[1], '?') end
  end
  if #entries == asked then more = 1 end
end
if more == 1 then rung = rung + 1 end
sweep()
room_is_made()
note_counts()
ring(rung)
send()
return { heard, taken, more }
]==]

--- Looks for jobs whose lease has lapsed, and for those of this worker that it knows nothing of, since an
-- answer was lost. ARGV: worker, ms without a renewal from which on one looks closer, room, "1": it would
-- take one that must run alone, "1": an answer was lost, then what it has: stream and entry, joined. Reply:
-- { stream, entry, delivery, id, job, "" or "alone", ... }, the least lease seen. One that is to run alone is
-- reserved, and has not begun: `begin` counts.
scripts.claim = [==[
local me, least, room, alone, unsure = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local known, taken, shortest = {}, {}, 0
for i = 6, #ARGV do known[ARGV[i]] = true end

local function hand(p, entry, job, kind, mine)
  local args = { 'XCLAIM', base .. p, 'workers', me, 0, entry }
  if kind == 'alone' or mine then args[#args + 1] = 'JUSTID' end
  call(unpack(args))
  local e = call('XPENDING', base .. p, 'workers', entry, entry, 1)[1]
  local n = #taken
  taken[n + 1], taken[n + 2], taken[n + 3], taken[n + 4] = p, entry, e[4], job[2].id
  taken[n + 5], taken[n + 6] = pack(job), kind
  room = room - 1
end

local function give_up(p, entry, job, owner)
  local facts = job[2]
  facts.base = (facts.base or 0) + owner.count
  remove(p, entry)
  finish(job, 'dead', pack({ 1, { 'JobFailed', 'Error' }, {
    message = 'the workers that ran it died, or stalled, ' .. facts.lost .. ' times',
    attempts = facts.base, errors = facts.errors,
  }, 'JobFailed', '' }))
end

local function note_loss(job, owner)
  local facts = job[2]
  facts.lost = (facts.lost or 0) + 1
  facts.errors = facts.errors or {}
  table.insert(facts.errors, words('WorkerLost', owner.owner .. ' was not heard of for ' ..
    math.floor(owner.idle / 1000) .. ' s'))
end

local function take_over(p, entry, job, owner)
  local facts, reserved = job[2], job[2].reserved
  local lost = (facts.lost or 0) + (reserved and 0 or 1)
  if facts.cancel or lost >= facts.most then
    if not reserved then note_loss(job, owner) end
    if not facts.cancel then return give_up(p, entry, job, owner) end
    remove(p, entry)
    return finish(job, 'cancelled', '')
  end
  if lost >= 2 and alone ~= '1' or lost < 2 and room <= 0 then return end
  if not reserved then note_loss(job, owner) end
  if lost >= 2 then
    alone, facts.reserved = '', true
  end
  store(job)
  hand(p, entry, job, lost >= 2 and 'alone' or '')
end

local function job_of(p, entry)
  local e = call('XRANGE', base .. p, entry, entry)[1]
  if not e then return nil end
  local id
  for i = 1, #e[2] - 1, 2 do
    if e[2][i] == 'id' then id = e[2][i + 1] end
    if e[2][i] == 'lease' then
      local lease = tonumber(e[2][i + 1]) or 0
      if lease > 0 and (shortest == 0 or lease < shortest) then shortest = lease end
    end
  end
  return id and load(id)
end

local function look(p, entry, owner)
  if known[p .. entry] then return end
  local mine = owner.owner == me
  if mine and unsure ~= '1' and owner.idle < 1000 then return end
  local job = job_of(p, entry)
  if not job or not OPEN[job[2].state] or job[1] ~= entry then return remove(p, entry) end
  if mine then
    -- where the answer to `begin` was lost, it begins once more
    if room > 0 then hand(p, entry, job, (job[2].lost or 0) >= 2 and 'alone' or '', true) end
  elseif owner.idle >= job[2].lease then
    take_over(p, entry, job, owner)
  end
end

-- Redis' clock was set back: by it what is pending was read in times to come, and would be nobody's until
-- then. All leases begin anew.
local function begin_anew(p)
  local from = '-'
  repeat
    local page = redis.pcall('XPENDING', base .. p, 'workers', from, '+', 100)
    for _, e in ipairs(page.err and {} or page) do
      call('XCLAIM', base .. p, 'workers', e[2], 0, e[1], 'JUSTID')
    end
    if page[1] then from = '(' .. page[#page][1] end
  until #page < 100
end

local at = now()
if at < (tonumber(call('HGET', base .. 'stats', 'clock') or 0) or 0) - 1000 then
  for _, p in ipairs(STREAMS) do begin_anew(p) end
end
call('HSET', base .. 'stats', 'clock', at)

for _, p in ipairs(STREAMS) do
  local from, idle = '-', unsure == '1' and 0 or least
  repeat
    local page = redis.pcall('XPENDING', base .. p, 'workers', 'IDLE', idle, from, '+', 100)
    if page.err then break end
    for _, e in ipairs(page) do look(p, e[1], { owner = e[2], idle = e[3], count = e[4] }) end
    if page[1] then from = '(' .. page[#page][1] end
  until #page < 100
end
sweep()
room_is_made()
note_counts()
send()

-- workers that have gone
for _, name in ipairs(call('ZRANGEBYSCORE', base .. 'workers', '-inf', at - 60000, 'LIMIT', 0, 10)) do
  local free = true
  for _, p in ipairs(STREAMS) do
    local left = redis.pcall('XPENDING', base .. p, 'workers', '-', '+', 1, name)
    if not left.err and left[1] then free = false else
      redis.pcall('XGROUP', 'DELCONSUMER', base .. p, 'workers', name)
    end
  end
  if free then call('ZREM', base .. 'workers', name) end
end
return { taken, shortest }
]==]

--- A job that is to run alone begins: what was reserved is delivered by that. ARGV: worker, stream, entry,
-- delivery, id. Reply: its delivery, 0: another has it.
scripts.begin = [==[
local me, p, entry, times, id = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local mine, job = own(me, p, entry), load(id)
if not mine or not job then return 0 end
local begun = not job[2].reserved -- and the answer was lost
if begun and mine.count == times + 1 then return mine.count end
if mine.count ~= times then return 0 end
if begun then return times end -- `claim` has found it since
call('XCLAIM', base .. p, 'workers', me, 0, entry)
job[2].reserved = nil
store(job)
return times + 1
]==]

--- Renews leases, and says that the worker lives. ARGV: worker, then stream, entry, delivery, id of each.
-- Reply, for each: "o" it is owned, "l" another has it, "c" it is owned, and to be cancelled.
scripts.renew = [==[
local me, replies, renewed, ids, places = ARGV[1], {}, {}, {}, {}
for i = 2, #ARGV, 4 do
  local p, entry = ARGV[i], ARGV[i + 1]
  local mine, k = own(me, p, entry), #replies + 1
  replies[k] = 'l'
  if mine and mine.count == tonumber(ARGV[i + 2]) then
    replies[k] = 'o'
    renewed[p] = renewed[p] or { 'XCLAIM', base .. p, 'workers', me, 0 }
    table.insert(renewed[p], entry)
    ids[#ids + 1], places[#places + 1] = ARGV[i + 3], k
  end
end
for _, args in pairs(renewed) do
  table.insert(args, 'JUSTID')
  call(unpack(args))
end
if ids[1] then
  for i, yes in ipairs(call('SMISMEMBER', base .. 'cancels', unpack(ids))) do
    if yes == 1 then replies[places[i]] = 'c' end
  end
end
call('ZADD', base .. 'workers', now(), me)
return replies
]==]

--- Puts what is due where it belongs. Reply: ms until the next is, -1: there is none.
scripts.due = [==[
local at, rung = now(), 0
for _, id in ipairs(call('ZRANGEBYSCORE', base .. 'delayed', '-inf', at, 'LIMIT', 0, 100)) do
  call('ZREM', base .. 'delayed', id)
  local job = load(id)
  if job and job[2].state == 'delayed' then
    enter(job)
    store(job)
    rung = rung + 1
  end
end
ring(rung)
local first = call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')
return first[2] and math.max(0, math.ceil(tonumber(first[2]) - at)) or -1
]==]

--- A worker leaves. ARGV: its name. Reply: 1: nothing of it is left.
scripts.leave = [==[
local free = 1
for _, p in ipairs(STREAMS) do
  local left = redis.pcall('XPENDING', base .. p, 'workers', '-', '+', 1, ARGV[1])
  if not left.err and left[1] then free = 0 else
    redis.pcall('XGROUP', 'DELCONSUMER', base .. p, 'workers', ARGV[1])
  end
end
if free == 1 then call('ZREM', base .. 'workers', ARGV[1]) end
call('ZADD', base .. 'bell', 0, 1, 0, 'delay') -- what it may have heard and not done
return free
]==]

--- An executor cares for a job no longer; nobody else does: it is cancelled. ARGV: id, executor or ""
-- (whoever cares), "mildly": not if it runs. Reply: "gone", "over", "left" to others, "cancelled", "asked" or
-- "runs".
scripts.cancel = [==[
local id, me = ARGV[1], ARGV[2]
local job = load(id)
if not job then return 'gone' end
local facts = job[2]
if not OPEN[facts.state] then return 'over' end
if me ~= '' and ARGV[3] ~= 'mildly' then
  local others = {}
  for _, name in ipairs(facts.to or {}) do
    if name ~= me then table.insert(others, name) end
  end
  if others[1] then
    facts.to = others
    store(job)
    return 'left'
  end
end
local running = false
if facts.state == 'queued' then
  local e = redis.pcall('XPENDING', base .. facts.p, 'workers', job[1], job[1], 1)
  running = not e.err and e[1] ~= nil
end
if running and ARGV[3] == 'mildly' then return 'runs' end
if running then
  facts.cancel = true
  store(job)
  call('SADD', base .. 'cancels', id)
  call('PUBLISH', base .. 'cancels', id)
  return 'asked'
end
if facts.state == 'delayed' then call('ZREM', base .. 'delayed', id) else
  call('XDEL', base .. facts.p, job[1])
end
finish(job, 'cancelled', '')
room_is_made()
note_counts()
send()
return 'cancelled'
]==]

--- An executor wants a job's end, too. ARGV: id, executor. Reply: 1; 0: there is no such job.
scripts.attach = [==[
local job = load(ARGV[1])
if not job then return 0 end
if OPEN[job[2].state] then
  add_listener(job[2], ARGV[2])
  store(job)
else
  tell({ ARGV[2] }, ARGV[1], LETTERS[job[2].state] .. job[2].result)
  send()
end
return 1
]==]

--- An executor lives, and asks after its jobs. ARGV: executor, ms for which its answers are kept from now on,
-- the last it has read, ids. Reply: "" or the id from which it reads the answers, which are new; { id, "l"
-- (there is no such job) or what it has ended with, ... }
scripts.probe = [==[
local me, list, from = ARGV[1], {}, ''
local answers = base .. 'answers:' .. me
if call('PEXPIRE', answers, ARGV[2]) == 0 then
  from = call('XADD', answers, '*', '', 'hello')
  call('PEXPIRE', answers, ARGV[2])
elseif ARGV[3] ~= '' then
  call('XTRIM', answers, 'MINID', ARGV[3])
end

-- How a job begins, with the entry: jobs may be large.
local function entry_of(head)
  local size = string.byte(head, 2) or 0
  if size >= 160 and size < 192 then return string.sub(head, 3, size - 158) end
  if size == 217 then return string.sub(head, 4, 3 + string.byte(head, 3)) end
end

-- Whether it waits or runs, where such jobs are: its stream, or the line of those that are delayed. Most
-- are in the stream in which the last one was.
local last = 'normal'
local function is_somewhere(id, entry)
  if not entry then return false end
  if entry == '' then return call('ZSCORE', base .. 'delayed', id) ~= false end
  if call('XRANGE', base .. last, entry, entry)[1] then return true end
  for _, p in ipairs(STREAMS) do
    if p ~= last and call('XRANGE', base .. p, entry, entry)[1] then
      last = p
      return true
    end
  end
  return false
end

local function look(id)
  local head = call('GETRANGE', base .. 'job:' .. id, 0, 63)
  if head == '' then return 'l' end
  if is_somewhere(id, entry_of(head)) then return nil end
  local job = load(id)
  if not job then return nil end
  if OPEN[job[2].state] then return 'l' end
  return LETTERS[job[2].state] .. job[2].result
end

for i = 4, #ARGV do
  local what = look(ARGV[i])
  if what then
    list[#list + 1] = ARGV[i]
    list[#list + 1] = what
  end
end
return { from, list }
]==]

--- `job:once`. ARGV: worker, stream, entry, delivery, id, key, which call it is. Reply: { "lost" } another
-- has the job; { "kept", results }; { "new" }; { "again" }: an attempt died there.
scripts.once = [==[
local id, key = ARGV[5], ARGV[6]
local mine, job = own(ARGV[1], ARGV[2], ARGV[3]), load(id)
if not mine or mine.count ~= tonumber(ARGV[4]) or not job then return { 'lost' } end
local kept = call('HGET', base .. 'once:' .. id, key)
if kept and string.sub(kept, 1, 1) == '+' then return { 'kept', string.sub(kept, 2) } end
if not job[2].once then
  job[2].once = true
  store(job)
end
local again = kept and kept ~= '-' .. ARGV[7]
call('HSET', base .. 'once:' .. id, key, (again and '~' or '-') .. ARGV[7])
return { again and 'again' or 'new' }
]==]

--- Keeps its results. ARGV as before, and the results. Reply: 1, 0: another has the job.
scripts.keep = [==[
local mine = own(ARGV[1], ARGV[2], ARGV[3])
if not mine or mine.count ~= tonumber(ARGV[4]) then return 0 end
call('HSET', base .. 'once:' .. ARGV[5], ARGV[6], '+' .. ARGV[8])
return 1
]==]

--- Wakes another worker. ARGV: what for.
scripts.ring = [==[
return call('ZADD', base .. 'bell', 0, ARGV[1])
]==]

--- Numbers. Reply: queued, delayed, running, dead, done, failed, workers, cancelled.
scripts.stats = [==[
local all, running = 0, 0
for _, p in ipairs(STREAMS) do
  all = all + call('XLEN', base .. p)
  local pending = redis.pcall('XPENDING', base .. p, 'workers')
  if not pending.err then running = running + pending[1] end
end
local kept = call('HMGET', base .. 'stats', 'done', 'failed', 'cancelled', 'dead')
local function number(i) return tonumber(kept[i] or 0) or 0 end
return {
  math.max(0, all - running), call('ZCARD', base .. 'delayed'), running, call('LLEN', base .. 'dead'),
  number(1), number(2) + number(4), call('ZCOUNT', base .. 'workers', now() - 15000, '+inf'), number(3),
}
]==]

--- What there is, for people. ARGV: how many at most, what ("open", "dead"). Reply: { id, job, worker or "",
-- idle ms or due in ms, ... }
scripts.list = [==[
local most, what, list, at = tonumber(ARGV[1]), ARGV[2], {}, now()
local function add(id, owner, ms)
  local raw = call('GET', base .. 'job:' .. id)
  if not raw or most <= 0 then return end
  most = most - 1
  local n = #list
  list[n + 1], list[n + 2], list[n + 3], list[n + 4] = id, raw, owner, ms
end
if what == 'dead' then
  for _, id in ipairs(call('LRANGE', base .. 'dead', 0, most - 1)) do add(id, '', 0) end
  return list
end
for _, p in ipairs(STREAMS) do
  local pending = read_pending(redis.pcall('XPENDING', base .. p, 'workers', '-', '+', 10000), {})
  for _, e in ipairs(call('XRANGE', base .. p, '-', '+', 'COUNT', math.max(most, 1))) do
    local owner = pending[e[1]]
    for i = 1, #e[2] - 1, 2 do
      if e[2][i] == 'id' then add(e[2][i + 1], owner and owner.owner or '', owner and owner.idle or 0) end
    end
  end
end
local due = call('ZRANGE', base .. 'delayed', 0, math.max(most, 1) - 1, 'WITHSCORES')
for i = 1, #due, 2 do add(due[i], '', math.floor(tonumber(due[i + 1]) - at)) end
return list
]==]

--- A job of the dead list runs again. ARGV: id. Reply: 1, 0: it is not there.
scripts.retry = [==[
local id = ARGV[1]
if call('LREM', base .. 'dead', 0, id) == 0 then return 0 end
local job = load(id)
if not job or job[3] == '' then return 0 end
local facts = job[2]
facts.tries, facts.lost, facts.errors, facts.result = nil, nil, nil, nil
enter(job)
store(job)
if facts.key then call('SET', base .. 'key:' .. facts.key, id) end
ring(1)
return 1
]==]

--- Takes back what waits, or empties the dead list. ARGV: "open" or "dead". Reply: how many of it this time;
-- the caller calls until there are none.
scripts.purge = [==[
local n = 0
if ARGV[1] == 'dead' then
  for _ = 1, 100 do
    local id = call('RPOP', base .. 'dead')
    if not id then break end
    call('DEL', base .. 'job:' .. id, base .. 'once:' .. id)
    n = n + 1
  end
  return n
end
local function drop(id)
  local job = load(id)
  if job and OPEN[job[2].state] then finish(job, 'cancelled', '') end
  n = n + 1
end
for _, id in ipairs(call('ZRANGE', base .. 'delayed', 0, 99)) do
  call('ZREM', base .. 'delayed', id)
  drop(id)
end
for _, p in ipairs(STREAMS) do
  local pending = read_pending(redis.pcall('XPENDING', base .. p, 'workers', '-', '+', 10000), {})
  local from = '-'
  repeat
    local page = call('XRANGE', base .. p, from, '+', 'COUNT', 100)
    for _, e in ipairs(page) do
      if not pending[e[1]] then
        call('XDEL', base .. p, e[1])
        for i = 1, #e[2] - 1, 2 do
          if e[2][i] == 'id' then drop(e[2][i + 1]) end
        end
      end
      from = '(' .. e[1]
    end
  until #page < 100 or n >= 100
end
room_is_made()
note_counts()
send()
return n
]==]

for name, text in pairs(scripts) do scripts[name] = PRELUDE .. text end

return scripts
