// Scores photos with an exported detector: dotnet run -- line3.onnx photo.png [photo.png ...]
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using SkiaSharp;

internal static class Program
{
    private static readonly string[] Outputs = { "score", "is_anomaly", "p_value", "mask" };

    private static int Main(string[] arguments)
    {
        if (arguments.Length < 2)
        {
            Console.Error.WriteLine("usage: score_photo MODEL PHOTO...");
            return 1;
        }
        using var session = new InferenceSession(arguments[0]);
        double threshold = double.Parse(
            session.ModelMetadata.CustomMetadataMap["skpadim.threshold"], CultureInfo.InvariantCulture);
        foreach (string path in arguments.Skip(1))
        {
            var inputs = new[] { NamedOnnxValue.CreateFromTensor("photos", ReadPhoto(path)) };
            using var found = session.Run(inputs, Outputs);
            float pValue = Values<float>(found, "p_value")[0];
            Console.WriteLine(JsonSerializer.Serialize(new
            {
                photo = path,
                score = Values<float>(found, "score")[0],
                is_anomaly = Values<bool>(found, "is_anomaly")[0],
                // A detector learned elsewhere has no good photos' scores to compare with, and JSON no NaN.
                p_value = float.IsNaN(pValue) ? null : (float?)pValue,
                threshold,
                marked = Values<bool>(found, "mask").Average(pixel => pixel ? 1.0 : 0.0),
            }));
        }
        return 0;
    }

    private static T[] Values<T>(IEnumerable<NamedOnnxValue> found, string name) =>
        found.First(output => output.Name == name).AsEnumerable<T>().ToArray();

    // Three bytes a pixel, over white. SkiaSharp does not turn photos upright: a line's camera has no need of it.
    private static DenseTensor<byte> ReadPhoto(string path)
    {
        using SKBitmap? photo = SKBitmap.Decode(path);
        if (photo is null) throw new InvalidDataException($"{path} cannot be read as an image.");
        var pixels = new DenseTensor<byte>(new[] { 1, photo.Height, photo.Width, 3 });
        SKColor[] colours = photo.Pixels;
        Span<byte> bytes = pixels.Buffer.Span;
        for (int pixel = 0; pixel < colours.Length; pixel++)
        {
            SKColor colour = colours[pixel];
            bytes[3 * pixel] = OverWhite(colour.Red, colour.Alpha);
            bytes[3 * pixel + 1] = OverWhite(colour.Green, colour.Alpha);
            bytes[3 * pixel + 2] = OverWhite(colour.Blue, colour.Alpha);
        }
        return pixels;
    }

    private static byte OverWhite(byte value, byte alpha) =>
        (byte)((value * alpha + 255 * (255 - alpha) + 127) / 255);
}
