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
    (["--fit", "h101", "--context", "1024"], "--fit h101: no such hardware"),
    (["--memory", "3.5", "--context", "1024"], "write the unit, such as 3.5GiB"),
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
