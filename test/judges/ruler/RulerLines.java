import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import software.amazon.event.ruler.Machine;

/**
 * The judge of the pattern language: reads lines {"pattern": "…", "event": "…"}, both JSON as
 * text, and answers each with what Amazon's event-ruler makes of it: true, false, or refused.
 */
public final class RulerLines {
    private static String verdict(JsonNode line) throws Exception {
        Machine machine = new Machine();
        try {
            machine.addRule("rule", line.get("pattern").asText());
        } catch (Exception refused) {
            return "refused " + String.valueOf(refused.getMessage()).split("\n", 2)[0];
        }
        return machine.rulesForJSONEvent(line.get("event").asText()).isEmpty() ? "false" : "true";
    }

    public static void main(String[] args) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        BufferedReader in =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(verdict(mapper.readTree(line)));
        }
        out.flush();
    }
}
