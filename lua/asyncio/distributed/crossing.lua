--- What crosses: calls, results and errors as bytes, in MessagePack. Each is an array whose first element is
-- the version of this format, 1: a call `[1, "module.function", [arguments...]]`, results `[1, [values...]]`,
-- an error `[1, classes, value, text, traceback]`, where `classes` is nil for a plain value, and otherwise
-- lists the names of its class and those above it, `value` being the fields.
-- @module asyncio.distributed.crossing
local check = require "asyncio.check"
local core = require "asyncio.core"
local errors = require "asyncio.distributed.errors"
local grammar = require "asyncio.grammar"

local crossing = {}

local VERSIONED = { [2] = "\x92\1", [3] = "\x93\1", [5] = "\x95\1" } -- the heads of arrays that begin with it

--- Any value as bytes; raises where it can't be. noun: what the list or value is called then
local function pack(value, list, noun)
  local bytes, why = grammar.pack(value, list, noun)
  return bytes or check.raise(why)
end

--- The value at a place, and where the next one begins. list: it is one, and has an `n`
local function unpack(bytes, i, list)
  local following, value, where = grammar.unpack(bytes, i, list)
  if not following then error(("%s, at byte %d"):format(value, where), 0) end
  return value, following
end

--- Where the first element of an array of n stands, behind the version.
local function open(bytes, n)
  if bytes:sub(1, 2) == VERSIONED[n] then return 3 end
  error("its format is not known here", 0)
end

-- Calls

--- Raises for what can't cross, with its place.
function crossing.call(name, ...)
  return VERSIONED[3] .. pack(name) .. pack(table.pack(...), true, "argument")
end

--- The name, and a list of arguments with its `n`; raises what is wrong.
function crossing.read_call(bytes)
  local name, i = unpack(bytes, open(bytes, 3))
  local arguments = unpack(bytes, i, true)
  if type(name) ~= "string" or type(arguments) ~= "table" then
    error("it has no function's name, or no arguments", 0)
  end
  return name, arguments
end

-- Results

function crossing.results(...) return VERSIONED[2] .. pack(table.pack(...), true, "result") end

--- A list with its `n`.
function crossing.read_results(bytes)
  local list = unpack(bytes, open(bytes, 2), true)
  if type(list) ~= "table" then error("it has no results", 0) end
  return list
end

-- Errors

local function classes_of(err)
  local list, class = {}, getmetatable(err)
  while type(class) == "table" do
    list[#list + 1] = rawget(class, "name")
    class = rawget(class, "super")
  end
  return list
end

--- Of a table what can cross.
local function fields_of(err)
  local fields = {}
  for key, value in next, err do
    if type(key) == "string" and key ~= "traceback" and grammar.pack(value) then fields[key] = value end
  end
  return fields
end

--- Any error; what of it cannot cross is left out.
function crossing.error(err, traceback)
  local text, classes, value = core.words(err), nil, err
  if core.isinstance(err, core.Error) then
    classes, value = classes_of(err), fields_of(err)
    traceback = traceback or rawget(err, "traceback")
  elseif not grammar.pack(err) then
    value = text
  end
  if type(traceback) ~= "string" then traceback = nil end
  return VERSIONED[5] .. pack(classes) .. pack(value) .. pack(text) .. pack(traceback)
end

--- A class of that name: of the library, or of a module that is loaded.
local function find_class(name)
  local found = errors[name] or core[name]
  if type(found) == "table" and rawget(found, "name") == name then return found end
  for _, module in pairs(package.loaded) do
    found = type(module) == "table" and rawget(module, name)
    if type(found) == "table" and rawget(found, "name") == name and rawget(found, "super") then
      return found
    end
  end
  return nil
end

--- The errors of several attempts, which have crossed as bytes.
local function read_errors(list)
  local read_ones = {}
  for i, bytes in ipairs(list) do
    read_ones[i] = type(bytes) == "string" and crossing.read_error(bytes) or bytes
  end
  return read_ones
end

local function remake(classes, fields, text)
  for _, name in ipairs(classes) do
    local class = find_class(name)
    if class then
      local err = class(text)
      for key, value in pairs(fields) do rawset(err, key, value) end
      return err
    end
  end
  return core.Error(text)
end

--- The error that these bytes are: an object of its class, if there is one of that name here, or else of the
-- nearest above it that there is.
function crossing.read_error(bytes)
  local classes, i = unpack(bytes, open(bytes, 5))
  local value, j = unpack(bytes, i)
  local text, k = unpack(bytes, j)
  local traceback = unpack(bytes, k)
  if type(classes) ~= "table" then return value end
  local err = remake(classes, type(value) == "table" and value or {}, text)
  if type(traceback) == "string" and traceback ~= "" then rawset(err, "traceback", traceback) end
  if core.isinstance(err, errors.JobFailed) and type(err.errors) == "table" then
    err.errors = read_errors(err.errors)
  end
  return err
end

-- Facts of a job, and the job

--- The facts and the call, as they stand behind the entry's id.
function crossing.job(facts, call)
  return pack(facts) .. string.pack(">Bs4", 0xdb, call) -- a string, since Redis' scripts know no bytes
end

--- The facts and the call of a job, an array { entry, facts, call }; raises what is wrong.
function crossing.read_job(bytes)
  local job = unpack(bytes, 1)
  if type(job) ~= "table" or type(job[2]) ~= "table" or type(job[3]) ~= "string" then
    error("it is none of this version", 0)
  end
  local facts = job[2]
  facts.entry = job[1]
  return facts, job[3]
end

return crossing
