import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.sql.EvaluationException;
import io.cloudevents.sql.EvaluationRuntime;
import io.cloudevents.sql.Expression;
import io.cloudevents.sql.Parser;
import io.cloudevents.sql.Result;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.Iterator;
import java.util.Map;
import java.util.TreeSet;

/**
 * Reads lines {"expression": "…", "event": {…}} and answers each with what the CloudEvents SDK
 * makes of it: {"value": …, "errors": ["cast", …]}, the kinds sorted, each once; or
 * {"refused": true} where the expression does not parse.
 */
public final class CesqlLines {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        BufferedReader in =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode given = JSON.readTree(line);
            out.println(JSON.writeValueAsString(
                judge(given.get("expression").asText(), event(given.get("event")))));
        }
        out.flush();
    }

    private static CloudEvent event(JsonNode attributes) {
        CloudEventBuilder builder = CloudEventBuilder.v1();
        for (Iterator<Map.Entry<String, JsonNode>> it = attributes.fields(); it.hasNext(); ) {
            Map.Entry<String, JsonNode> attribute = it.next();
            String name = attribute.getKey();
            JsonNode value = attribute.getValue();
            switch (name) {
                case "specversion" -> { }
                case "id" -> builder.withId(value.asText());
                case "source" -> builder.withSource(URI.create(value.asText()));
                case "type" -> builder.withType(value.asText());
                case "subject" -> builder.withSubject(value.asText());
                case "datacontenttype" -> builder.withDataContentType(value.asText());
                case "dataschema" -> builder.withDataSchema(URI.create(value.asText()));
                case "time" -> builder.withTime(OffsetDateTime.parse(value.asText()));
                default -> {
                    if (value.isBoolean()) {
                        builder.withExtension(name, value.asBoolean());
                    } else if (value.isInt()) {
                        builder.withExtension(name, value.asInt());
                    } else {
                        builder.withExtension(name, value.asText());
                    }
                }
            }
        }
        return builder.build();
    }

    private static ObjectNode judge(String text, CloudEvent event) {
        ObjectNode answer = JSON.createObjectNode();
        Expression expression;
        try {
            expression = Parser.parseDefault(text);
        } catch (RuntimeException e) { // ParseException, and what its parser stumbles over
            return answer.put("refused", true);
        }
        Result result = expression.evaluate(EvaluationRuntime.getDefault(), event);
        answer.set("value", JSON.valueToTree(result.value()));
        TreeSet<String> kinds = new TreeSet<>();
        for (EvaluationException error : result.causes()) {
            kinds.add(error.getKind().name().toLowerCase());
        }
        ArrayNode errors = answer.putArray("errors");
        kinds.forEach(errors::add);
        return answer;
    }
}
