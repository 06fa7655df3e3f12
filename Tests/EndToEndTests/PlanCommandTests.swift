import ByteIO
import StrictJSON
import TestSupport
import Testing

private let llama3 = Fixtures.path("models/llama3")
private let imatrix = Fixtures.path("models/imatrix/llama3.gguf")

/// The curve in every form, and what goes wrong with its options.
@Test func plansCurves() throws {
  let folder = TemporaryFolder()
  let measurements = folder.file("measurements.json")
  let (svg, html) = (folder.file("curve.svg"), folder.file("curve.html"))
  let result = Command.ingot(
    "plan", llama3, "--curve", "--imatrix", imatrix, "--measurements", measurements, "--plot", svg,
    "--plot", html, "--fit", "apple-8gb", "--context", "1024", "--json")
  #expect(result.status == 0, "\(result.error)")
  let curve = try JSONValue(parsing: Array(result.output.utf8), file: "stdout")
  #expect(curve["points"]?.array?.count == 25)
  #expect(curve["budget"]?["name"]?.string == "apple-8gb, 1024 tokens")
  #expect(try XMLChecker(Fixtures.text(svg)).elements().count > 100)
  #expect(try Fixtures.text(html).hasPrefix("<!doctype html>"))
  let table = Command.ingot(
    "plan", llama3, "--curve", "--imatrix", imatrix, "--measurements", measurements)
  #expect(table.status == 0 && table.output.contains("\nQ4_K_M "), "\(table.error)")
  // The file has what it was made for.
  let inspected = Command.ingot("inspect", measurements)
  #expect(inspected.output.contains("config.json, CRC-32"), "\(inspected.error)")
  for (arguments, message) in [
    (["--plot", svg, "--target-bpw", "4"], "--plot needs --curve"),
    (["--curve", "-o", svg], "leave out -o"), (["--curve", "--plot", "x.png"], ".svg or .html"),
    (["--curve", "--measure-points", "2"], "--text"),
    (["--curve", "--measure-points", "0"], "1 or more"),
    (["--curve", "--plot", svg, "--plot", svg], "written twice"),
  ] {
    let wrong = Command.run([Command.ingot, "plan", llama3] + arguments)
    #expect(wrong.status == 64 && wrong.error.contains(message), "\(arguments): \(wrong.error)")
  }
  let nowhere = Command.ingot("plan", llama3, "--curve", "--plot", measurements + "/no/x.svg")
  #expect(nowhere.status == 73 && nowhere.error.contains("no/x.svg"), "\(nowhere.error)")
}

/// Recipes are inspected, and one of an archive is given back.
@Test func inspectsRecipes() throws {
  let folder = TemporaryFolder()
  let recipe = folder.file("recipe.json")
  let planned = Command.ingot(
    "plan", llama3, "--target-bpw", "5", "--types", "Q4_K,Q6_K,Q8_0", "-o", recipe)
  #expect(planned.status == 0, "\(planned.error)")
  let shown = Command.ingot("inspect", recipe)
  #expect(shown.output.hasPrefix("recipe: fit to 5.0 bits per weight, types of 44 tensors"))
  #expect(shown.output.contains("importance matrix: no"))
  let archive = folder.file("out.gguf")
  #expect(Command.ingot("convert", llama3, "-o", archive, "--recipe", recipe).status == 0)
  let stored = Command.ingot("inspect", archive, "--recipe")
  folder.write("stored.json", stored.output)
  let again = folder.file("again.gguf")
  #expect(
    Command.ingot("convert", llama3, "-o", again, "--recipe", folder.file("stored.json")).status
      == 0)
  #expect(try Fixtures.isSame(archive, again))
  #expect(Command.ingot("inspect", archive, "--recipe", "--json").status == 64)
  folder.write("broken.json", #"{"format": "ingot-recipe", "version": 2}"#)
  #expect(Command.ingot("inspect", folder.file("broken.json")).status == 65)
}

/// What people mistype is named with the option that they gave.
@Test func namesWhatIsWrong() {
  for (arguments, message) in [
    (["--hardware", "h101"], "--hardware h101: no such hardware"),
    (["--hardware", "h101"], "such as --hardware 24GiB"),
    (["--hardware", "24"], "--hardware 24 is 24 bytes: write the unit"),
    (["--hardware", "24GiBx99"], "--hardware x99: takes 1 to 16 devices"),
    (["--hardware", "4090x99"], "--hardware 4090x99: no such hardware"),
    (["--hardware", "h100", "--text", "x"], "leave out --text"),
    (["--hardware", "h100", "--fast-on", "gpu"], "leave out --fast-on"),
    (["--hardware", "h100", "--keep", "a=Q8_0"], "leave out --keep"),
    (["--hardware", "h100", "--experts", "split"], "leave out --experts"),
    (["--target-bpw", "-1"], "--target-bpw takes a number up to 32, not -1"),
    (["--target-bpw", "4", "--fast-on", ""], "--fast-on takes names, separated by commas"),
    (["--target-bpw", "4", "--types", ""], "--types takes names"),
    (["--target-bpw", "4", "--types", "Q4_K,,Q8_0"], "--types takes names"),
    (
      ["--fit", "h100", "--context", "512", "--kv-type", "q8_0", "--no-flash-attention"],
      "error: llama.cpp would refuse values of Q8_0 without flash attention\n"
    ),
    (["--fit", "h101", "--context", "1024"], "--fit h101: no such hardware"),
    (["--memory", "3.5", "--context", "1024"], "write the unit, such as 3.5GiB"),
    (["--memory", "0", "--context", "1024"], "Sizes are 512M, 2.5G, 8GiB, above 0"),
    (["--memory", "1000B", "--context", "1024"], "takes the memory of a device, 1MiB or more"),
    (["--hardware", "1000B"], "--hardware 1000 bytes: takes the memory of a device"),
    (["--target-bpw", "4", "--keep", "x"], "error: --keep x: should be PATTERN=TYPE"),
    (["--target-bpw", "4", "--keep=a=Q9"], "error: --keep a=Q9: no such type"),
    (["--target-bpw", "4", "--tensor-type", "x"], "error: --tensor-type x: should be"),
    (["--hardware", "h100", "--tensor-type", "a=Q8_0"], "leave out --tensor-type"),
    (["--target-size", "60"], "--target-size 60 is 60 bytes"),
    (["--fit", "h100", "--context=-5"], "--context takes 1 to 1073741824, not -5"),
    (["--fit", "h100", "--context", "1024", "--parallel", "300"], "--parallel takes 1 to 256"),
    (["--target-bpw", "4", "--fast-on", "abacus"], "--fast-on abacus: takes cpu, gpu"),
  ] {
    let result = Command.run([Command.ingot, "plan", llama3] + arguments)
    #expect(result.status == 64 && result.error.contains(message), "\(arguments): \(result.error)")
  }
  let long = Command.ingot("plan", llama3, "--hardware", "h100", "--context", "100000")
  #expect(long.status == 0 && long.error.contains("longer than the model's own context"))
}

/// What a text is too short for is named as the command that runs calls it, and so is what is no
/// importance matrix, or no longer whole.
@Test func namesItsOwnOptionsAndFiles() throws {
  let folder = TemporaryFolder()
  let text = folder.write("short.txt", String(repeating: "a short text ", count: 50))
  let short = Command.ingot(
    "plan", llama3, "--target-bpw", "4", "--text", text, "--text-context", "1024")
  #expect(short.status == 65 && short.error.contains("a smaller --text-context"), "\(short)")
  let config = llama3 + "/config.json"
  let matrix = Command.ingot(
    "convert", llama3, "-o", folder.file("x.gguf"), "--imatrix", config)
  #expect(matrix.status == 65, "\(matrix)")
  #expect(matrix.error.contains("found a text, supported: importance matrices"), "\(matrix)")
  #expect(matrix.error.contains("llama-imatrix's older .dat"), "\(matrix)")
  let measurements = folder.file("m.json")
  let plan = ["plan", llama3, "--target-bpw", "4", "--measurements", measurements]
  #expect(Command.run([Command.ingot] + plan).status == 0)
  let whole = try PositionalFile.readAll(measurements, limit: 1 << 20)
  folder.write("m.json", whole.dropLast(whole.count / 3))
  let cut = Command.run([Command.ingot] + plan)
  #expect(cut.status == 65 && cut.error.contains("then measured anew"), "\(cut)")
}

/// Names are taken before sizes, so that 4090 is no number of bytes.
@Test func knowsEveryNameOfHardware() throws {
  let rows = try Fixtures.text(Fixtures.root + "/formats/hardware/hardware.tsv").split(
    separator: "\n"
  ).filter { !$0.hasPrefix("#") }.dropFirst().map { $0.split(separator: "\t").map(String.init) }
  #expect(rows.count > 20)
  for row in rows {
    let aliases = row[1] == "-" ? [] : row[1].split(separator: ",").map(String.init)
    for name in [row[0]] + aliases {
      let result = Command.ingot("plan", llama3, "--hardware", name, "--type", "Q8_0")
      #expect(result.status == 0, "\(name): \(result.error)")
      #expect(result.output.contains(row[5]), "\(name): \(result.output)")
    }
  }
  let two = Command.ingot("plan", llama3, "--hardware", "4090x2", "--type", "Q8_0")
  #expect(two.status == 0 && two.output.contains("RTX 4090 × 2"), "\(two)")
}

/// Whether a quantized archive fits is asked with any way to name memory, and nothing is chosen.
@Test func answersForQuantizedArchives() throws {
  let folder = TemporaryFolder()
  let archive = folder.file("out.gguf")
  #expect(Command.ingot("convert", llama3, "-o", archive, "--type", "Q4_K_M").status == 0)
  func plan(_ arguments: String...) -> CommandResult {
    Command.run([Command.ingot, "plan", archive] + arguments)
  }
  for named in [["--memory", "24GiB"], ["--fit", "h100"], ["--hardware", "24GiB"]] {
    let result = Command.run([Command.ingot, "plan", archive] + named)
    #expect(result.status == 0, "\(result.error)")
    // The context is capped at the model's own, and the largest one says whose limit it is.
    #expect(result.output.contains(", 2048 tokens × 1"), "\(result.output)")
    #expect(result.output.hasSuffix("fits; largest context: 2048, the model's own\n"))
    #expect(result.error.isEmpty, "\(result.error)")
  }
  // Where memory is the limit, it is said, too; a device has whole MiB that are no more than named.
  let tight = plan("--memory", "1063780352", "--json")
  let answer = try JSONValue(parsing: Array(tight.output.utf8), file: "stdout").array?.first
  #expect(answer?["modelContext"]?.int == 2048, "\(tight)")
  let small = plan("--memory", "1039.9MiB", "--parallel", "4", "--context", "256")
  #expect(small.status == 0 && small.output.hasPrefix("1039MiB, 256 tokens × 4"), "\(small)")
  #expect(small.output.contains(" 1039\n") && !small.output.contains(" 1040\n"), "\(small)")
  #expect(small.output.contains("more, in steps of 256, does not fit"), "\(small)")
  let full = plan("--memory", "512MiB")
  #expect(full.status == 65 && full.output.contains("does not fit"), "\(full)")
  #expect(full.error.contains("does not fit 512MiB"), "\(full)")
  // A question, to which "no" is an answer.
  #expect(plan("--hardware", "512MiB").status == 0)
  let all = plan("--hardware", "all")
  #expect(all.output.contains("\nlargest context: at most the model's own, 2048 tokens\n"))
  for (arguments, message) in [
    (["--memory", "24GiB", "-o", "x"], "leave out -o, or choose types anew"),
    (["--memory", "24GiB", "--text", "x"], "leave out --text"),
    (["--memory", "24GiB", "--keep", "a=Q8_0"], "leave out --keep"),
    (["--memory", "24GiB", "--target-bpw", "4"], "exclude each other"),
    (["--memory", "24GiB", "--type", "Q8_0"], "leave out --type"),
    (["--memory", "24GiB", "--fit", "h100"], "exclude each other"),
  ] {
    let wrong = Command.run([Command.ingot, "plan", archive] + arguments)
    #expect(wrong.status == 64 && wrong.error.contains(message), "\(arguments): \(wrong.error)")
  }
  // What is not quantized has types to choose.
  let chosen = Command.ingot("plan", llama3, "--memory", "2GiB", "--context", "512")
  #expect(chosen.status == 0 && chosen.output.contains("types chosen for 44 tensors"))
}
