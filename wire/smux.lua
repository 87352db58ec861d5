-- Wireshark dissector of the smux protocol, versions 1 and 2, as docs/protocol.md describes it.
--
-- Wireshark calls it smuxkit, because it has a protocol "smux" already, which is SNMP's (RFC 1227).
--
-- Try it:       tshark -X lua_script:wire/smux.lua -d tcp.port==9000,smuxkit -r capture.pcap
-- Install it:   copy it into the folder "Personal Lua Plugins" of Help > About Wireshark > Folders.
-- Use it:       Analyze > Decode As..., TCP port, smuxkit. A preference can name ports that are always smux, and the
--               heuristic (Analyze > Enabled Protocols, smuxkit_tcp) finds sessions on any port.
--
-- Fields to filter by: smux.stream (all frames of a stream), smux.command, smux.version, smux.length,
-- smux.upd.consumed, smux.upd.window, smux.signal, smux.refused. "smuxkit.stream == 3 && tcp.stream == 0" is one stream
-- of one connection.

local smux = Proto("smuxkit", "smux stream multiplexing")

local HEADER = 8
local SYN, FIN, PSH, NOP, UPD = 0, 1, 2, 3, 4
local commands = { [SYN] = "SYN", [FIN] = "FIN", [PSH] = "PSH", [NOP] = "NOP", [UPD] = "UPD" }
local RESERVED = 0xfffffff0 -- ids from here on are signals of smuxkit, not streams
local INITIAL_WINDOW = 262144

local f = {
  version = ProtoField.uint8("smuxkit.version", "Version", base.DEC),
  command = ProtoField.uint8("smuxkit.command", "Command", base.DEC, commands),
  length = ProtoField.uint16("smuxkit.length", "Length", base.DEC),
  stream = ProtoField.uint32("smuxkit.stream", "Stream", base.DEC),
  data = ProtoField.bytes("smuxkit.data", "Data"),
  consumed = ProtoField.uint32("smuxkit.upd.consumed", "Consumed", base.DEC),
  window = ProtoField.uint32("smuxkit.upd.window", "Window", base.DEC),
  signal = ProtoField.string("smuxkit.signal", "Signal"),
  refused = ProtoField.bool("smuxkit.refused", "Refused"),
}
smux.fields = f

local e = {}
do
  local group, severity = expert.group.PROTOCOL, expert.severity
  local function new(name, text, level) e[name] = ProtoExpert.new("smuxkit.expert." .. name, text, group, level) end
  new("version", "Version is neither 1 nor 2", severity.ERROR)
  new("mismatch", "Version is not that of the connection", severity.ERROR)
  new("command", "Unknown command", severity.ERROR)
  new("control", "SYN, FIN or NOP with data", severity.ERROR)
  new("updlength", "UPD with other than 8 bytes", severity.ERROR)
  new("updversion", "UPD in version 1", severity.ERROR)
  new("nopid", "NOP with a stream id", severity.ERROR)
  new("zeroid", "Frame without a stream id", severity.ERROR)
  new("parity", "SYN with an id of the receiver's parity", severity.ERROR)
  new("inuse", "SYN with the id of an open stream", severity.ERROR)
  new("consumed", "CONSUMED is more than what was sent", severity.ERROR)
  new("afterfin", "Data after FIN", severity.WARN)
  new("overrun", "Data beyond the window", severity.WARN)
  new("full", "The window is used up", severity.NOTE)
  new("refusal", "Refused: no application has seen the stream", severity.NOTE)
  new("signal", "Signal of smuxkit", severity.CHAT)
end
smux.experts = { e.version, e.mismatch, e.command, e.control, e.updlength, e.updversion, e.nopid, e.zeroid, e.parity, e.inuse,
  e.consumed, e.afterfin, e.overrun, e.full, e.refusal, e.signal }

smux.prefs.ports = Pref.range("TCP ports", "", "Ports whose connections are smux", 65535)

local tcp_stream = Field.new("tcp.stream")
-- Wireshark's own words for bytes that are missing from the capture.
local lost_segment = Field.new("tcp.analysis.lost_segment")
local ack_lost_segment = Field.new("tcp.analysis.ack_lost_segment")

-- What is known of each connection, by tcp.stream. The frames are judged once, in their order; later passes, in any
-- order, use what was found for the place of a frame: judged[packet number][offset].
local connections, judged = {}, {}

function smux.init()
  connections, judged = {}, {}
end

local function connection(pinfo)
  local n = tcp_stream()
  local key = n and n.value or 0
  local c = connections[key]
  if not c then
    c = { streams = {} }
    connections[key] = c
  end
  -- Frames are missing from the capture: windows and ends are not known any more.
  if lost_segment() or ack_lost_segment() then c.lossy = true end
  return c
end

-- sender names the side that sends a packet.
local function sender(pinfo) return tostring(pinfo.src) .. ":" .. pinfo.src_port end

local function fault(version, command, length, id)
  if version ~= 1 and version ~= 2 then return e.version end
  if command > UPD then return e.command end
  if command == UPD and version == 1 then return e.updversion end
  if command == NOP and id ~= 0 then return e.nopid end
  if command ~= NOP and id == 0 then return e.zeroid end
  if command == UPD and length ~= 8 then return e.updlength end
  if command ~= UPD and command ~= PSH and length ~= 0 then return e.control end
end

local names = { [0] = "drain", [1] = "ping", [2] = "close" }

-- signal says what a FIN of a reserved id means. client is the side that sends odd ids, nil if that is not known.
local function signal(c, id, from)
  local name = names[math.floor((0xffffffff - id) / 2)] or "unknown"
  if not c.client then return name .. " or its echo" end
  local own = (id % 2 == 1) == (c.client == from)
  return own and name or "echo of " .. name
end

local function half() return { bytes = 0, fins = 0, empties = 0, consumed = 0, window = INITIAL_WINDOW, limit = INITIAL_WINDOW } end

-- judge follows the streams by a frame, and returns what is to be told of it: experts, a signal, a text.
local function judge(c, from, version, command, length, id, consumed, window)
  local told = { experts = {} }
  local function tell(x) table.insert(told.experts, x) end
  if c.version and c.version ~= version then tell(e.mismatch) end
  c.version = c.version or version
  if command == NOP then return told end
  if command == FIN and id >= RESERVED then
    told.signal = signal(c, id, from)
    tell(e.signal)
    return told
  end
  local s = c.streams[id]
  if command == SYN then
    local odd = id % 2 == 1
    if c.client and (c.client == from) ~= odd then
      tell(e.parity)
      return told
    end
    if odd then c.client = from else c.server = from end
    if s and not s.over then
      tell(e.inuse)
      return told
    end
    c.streams[id] = { opener = from, mine = half(), theirs = half() }
    return told
  end
  if not s or c.lossy then return told end -- it is not known
  local h = s.opener == from and s.mine or s.theirs
  local o = s.opener == from and s.theirs or s.mine
  if command == PSH then
    if length == 0 then
      h.empties = h.empties + 1
      return told
    end
    if h.fins > 0 then tell(e.afterfin) end
    h.bytes = h.bytes + length
    if version == 2 then
      if h.bytes > h.limit then
        tell(e.overrun)
      elseif h.window - (h.bytes - h.consumed) <= 0 then
        tell(e.full)
      end
    end
  elseif command == UPD then
    local ahead = (o.bytes - consumed) % 0x100000000
    if ahead >= 0x80000000 then ahead = ahead - 0x100000000 end
    -- The reader may have got a part of a frame that is shown only when it is complete.
    if ahead < -65535 then
      tell(e.consumed)
      return told
    end
    if o.bytes - ahead < o.consumed then return told end -- older than the last one
    o.consumed = o.bytes - ahead
    o.window = window >= 0x80000000 and window - 0x100000000 or window
    o.limit = math.max(o.limit, o.consumed + o.window)
    if h.fins == 1 and not s.over then told.text = "still reads" end
  elseif command == FIN then
    h.fins = h.fins + 1
    if h.fins == 2 and h.bytes == 0 and h.empties == 2 and from ~= s.opener then
      s.over = true
      told.refused = true
      tell(e.refusal)
    elseif h.fins == 2 then
      told.text = "closed both directions"
    elseif o.fins > 0 and not s.over then
      s.over = true
      told.text = "closed"
    end
  end
  return told
end

-- dissect_frame adds one frame to the tree. It is called for whole frames.
local function dissect_frame(buf, pinfo, tree)
  local version, command, length, id = buf(0, 1):uint(), buf(1, 1):uint(), buf(2, 2):le_uint(), buf(4, 4):le_uint()
  local name = commands[command] or ("command " .. command)
  local wrong = fault(version, command, length, id)
  local consumed, window
  if command == UPD and length == 8 then consumed, window = buf(8, 4):le_uint(), buf(12, 4):le_uint() end

  local at = judged[pinfo.number]
  if not at then
    at = {}
    judged[pinfo.number] = at
  end
  -- Frames of a packet come in their order, and a frame that spans packets is the first of its last packet.
  local place = (pinfo.private.smux_place or 0) + 1
  pinfo.private.smux_place = place
  local told = at[place]
  if not told then
    told = wrong and { experts = { wrong } } or judge(connection(pinfo), sender(pinfo), version, command, length, id, consumed, window)
    at[place] = told
  end

  local text = name
  if command == FIN and id >= RESERVED then
    text = string.format("%s 0x%08x (%s)", name, id, told.signal or "signal")
  elseif command ~= NOP then
    text = string.format("%s %d", name, id)
  end
  if command == PSH then text = text .. " len=" .. length end
  if consumed then text = string.format("%s consumed=%d window=%d", text, consumed, window) end
  if told.refused then text = text .. " (refused)" elseif told.text then text = text .. " (" .. told.text .. ")" end

  local node = tree:add(smux, buf(), "smux v" .. version .. " " .. text)
  node:add(f.version, buf(0, 1))
  node:add(f.command, buf(1, 1))
  node:add_le(f.length, buf(2, 2))
  node:add_le(f.stream, buf(4, 4))
  if consumed then
    node:add_le(f.consumed, buf(8, 4))
    node:add_le(f.window, buf(12, 4))
  elseif length > 0 then
    node:add(f.data, buf(HEADER))
  end
  if told.signal then node:add(f.signal, buf(4, 4), told.signal) end
  if told.refused then node:add(f.refused, buf(1, 1), true) end
  for _, x in ipairs(told.experts) do node:add_proto_expert_info(x) end

  local info = tostring(pinfo.cols.info)
  if #info < 400 then pinfo.cols.info:append((place == 1 and "" or ", ") .. text) end
  return buf:len()
end

-- frame_length returns the length of the frame that begins at offset. Where no frame can begin, the rest is one, so that
-- it is shown as what it is.
local function frame_length(buf, pinfo, offset)
  local version, command = buf(offset, 1):uint(), buf(offset + 1, 1):uint()
  if version ~= 1 and version ~= 2 or command > UPD then return buf:len() - offset end
  return HEADER + buf(offset + 2, 2):le_uint()
end

function smux.dissector(buf, pinfo, tree)
  pinfo.cols.protocol = "smuxkit"
  pinfo.cols.info:clear()
  pinfo.private.smux_place = nil
  dissect_tcp_pdus(buf, tree, HEADER, frame_length, dissect_frame)
  return buf:len()
end

-- The heuristic takes a connection whose packet begins with valid headers that follow each other to the packet's end. A
-- single frame must be one that opens a session: NOP, or SYN.
local function heuristic(buf, pinfo, tree)
  local offset, n, first = 0, 0, nil
  while buf:len() - offset >= HEADER and n < 3 do
    local version, command, length, id =
      buf(offset, 1):uint(), buf(offset + 1, 1):uint(), buf(offset + 2, 2):le_uint(), buf(offset + 4, 4):le_uint()
    if fault(version, command, length, id) then return false end
    first = first or command
    n = n + 1
    offset = offset + HEADER + length
  end
  if n == 0 or n == 1 and first ~= SYN and first ~= NOP then return false end
  if n < 3 and offset < buf:len() then return false end -- not whole headers to the end
  pinfo.conversation = smux
  smux.dissector(buf, pinfo, tree)
  return true
end
smux:register_heuristic("tcp", heuristic)

local tcp_port = DissectorTable.get("tcp.port")
tcp_port:add_for_decode_as(smux)
local ports = ""
function smux.prefs_changed()
  if ports ~= smux.prefs.ports then
    if ports ~= "" then tcp_port:remove(ports, smux) end
    ports = smux.prefs.ports
    if ports ~= "" then tcp_port:add(ports, smux) end
  end
end

-- Conversation filter: Right click > Conversation Filter > smux stream.
if register_packet_menu then
  register_packet_menu("smuxkit/Filter by this stream", function(...)
    for _, field in ipairs({ ... }) do
      if field.name == "smuxkit.stream" then
        set_filter("smuxkit.stream == " .. tostring(field.value) .. " && tcp.stream == " .. tostring(tcp_stream().value))
        apply_filter()
        return
      end
    end
  end, "smuxkit.stream")
end
