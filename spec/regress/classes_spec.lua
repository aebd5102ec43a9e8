-- Error classes that a thread has not seen yet, whose fields lead back to classes that are just being made there.
local t = require "helper"
local asyncio = t.asyncio

TestClassesOfAnotherThread = {}

--- What fn returns there for the error.
local function there(fn, err)
  return t.real(function() return asyncio.to_thread(fn, err) end)
end

function TestClassesOfAnotherThread:test_a_class_holds_an_error_of_a_class_below_it()
  local Base = asyncio.Error:subclass "Base"
  local Below = Base:subclass "Below"
  Base.DEFAULT = Below "by default"
  t.assertEquals(there(function(err) return tostring(err.DEFAULT) end, Below "x"), "Below: by default")
end

function TestClassesOfAnotherThread:test_a_class_is_the_home_of_all_classes_below_it()
  local Base = asyncio.Error:subclass "Base"
  Base.Middle = Base:subclass "Middle"
  Base.Lowest = Base.Middle:subclass "Lowest"
  local kinds = there(function(err)
    local base = require "asyncio".isinstance
    return { base(err, err.Middle), base(err, err.Lowest), tostring(err.Lowest "y"), err.Lowest.super == err.Middle }
  end, Base.Middle "x")
  t.assertEquals(kinds, { true, false, "Lowest: y", true })
end

function TestClassesOfAnotherThread:test_classes_tell_of_themselves_as_their_parent_does()
  local Base = asyncio.Error:subclass "Base"
  function Base:__tostring() return "<" .. self.message .. ">" end
  local Middle = Base:subclass "Middle"
  Base.Lowest = Middle:subclass "Lowest"
  local Plain = Middle:subclass "Plain"
  Plain.__tostring = asyncio.Error.__tostring
  local function tell(err) return { tostring(err), tostring(err.Lowest "y") } end
  t.assertEquals(there(tell, Middle "x"), { "<x>", "<y>" })
  t.assertEquals(there(tostring, Plain "x"), "Plain: x")
end

t.finish()
